//! How long I/O and timers wait while jobs are always ready, and what polling costs meanwhile.

use std::iter::repeat_n;

use oxloop_engine::Step;
use oxloop_engine::testing::Bench;

use crate::setup::{add_reader, at, call_at, polls, readable, soon};

/// Seconds between two polls, and callbacks on top of them, at most: see `budget.rs`.
const POLL_EVERY: f64 = 50e-6;
const MAX_STRIDE: usize = 16;

const CHEAP: f64 = 1e-7;
const SLOW: f64 = 1e-3;

/// A loop on which `jobs` jobs reschedule themselves.
fn busy(jobs: usize) -> Bench {
    let mut bench = Bench { now: 1.0, ..Bench::default() };
    for _ in 0..jobs {
        soon(&mut bench.engine, "job");
    }
    bench.engine.begin_run(false);
    bench
}

/// Runs callbacks of these durations; says for each how many polls there had been.
fn callbacks(bench: &mut Bench, durations: &[f64]) -> Vec<usize> {
    let kernel = bench.kernel.clone();
    let mut seen = Vec::new();
    for &duration in durations {
        bench.tick = duration;
        bench.run(|engine, _| {
            seen.push(kernel.timeouts().len());
            soon(engine, "job");
            false
        });
    }
    seen
}

/// Durations without a pattern, from nothing to a millisecond.
fn mixed(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        [0.0, 1e-7, 1e-6, 4e-6, 30e-6, SLOW][(state >> 33) as usize % 6]
    };
    // Stretches of equal ones, for the stride to adapt to.
    (0..count / 20).flat_map(|_| repeat_n(next(), 20)).collect()
}

/// Checks the promise for every span between two polls, however the host takes its jobs.
fn assert_bound(jobs: usize, durations: &[f64]) {
    assert_bound_of(MAX_STRIDE, jobs, durations);
}

fn assert_bound_of(stride: usize, jobs: usize, durations: &[f64]) {
    let mut bench = busy(jobs);
    bench.engine.set_stride(stride);
    let seen = callbacks(&mut bench, durations);
    let mut direct = Bench { direct: true, ..busy(jobs) };
    direct.engine.set_stride(stride);
    assert_eq!(callbacks(&mut direct, durations), seen);
    assert_eq!((direct.looks, direct.kernel.timeouts()), (bench.looks, bench.kernel.timeouts()));
    let mut start = 0;
    for (at, pair) in seen.windows(2).enumerate() {
        let end = at + 1;
        if pair[0] == pair[1] {
            continue;
        }
        let last = (end - start).min(stride.max(jobs));
        let waited: f64 = durations[start..end].iter().sum();
        let allowed = POLL_EVERY + durations[end - last..end].iter().sum::<f64>();
        assert!(
            waited <= allowed + 1e-9,
            "{jobs} jobs a turn: callbacks {start}..{end} waited {waited} s, allowed {allowed} s"
        );
        start = end;
    }
}

#[test]
fn cheap_callbacks_are_rarely_interrupted_by_a_poll() {
    let mut bench = busy(1);
    callbacks(&mut bench, &[CHEAP; 10_000]);
    // They take a millisecond: twenty times POLL_EVERY.
    assert!((15..=21).contains(&polls(&bench)), "{}", polls(&bench));
}

#[test]
fn cheap_callbacks_look_at_the_clock_every_sixteen() {
    let mut bench = busy(1);
    callbacks(&mut bench, &[CHEAP; 10_000]);
    assert!(bench.looks <= 10_000 / MAX_STRIDE + 5, "{}", bench.looks);
}

#[test]
fn a_host_that_takes_jobs_directly_steps_only_when_the_clock_is_due() {
    let mut bench = busy(1);
    callbacks(&mut bench, &[CHEAP; 1000]);
    let mut taken = 0;
    while let Some(job) = bench.engine.next_job() {
        soon(&mut bench.engine, job);
        taken += 1;
    }
    assert!((1..MAX_STRIDE).contains(&taken), "{taken}");
    assert!(matches!(bench.engine.step(), Step::Clock));
    bench.engine.tell(at(bench.now));
    let mut taken = 0;
    let Step::Job(mut job) = bench.engine.step() else { panic!("should run a job") };
    loop {
        soon(&mut bench.engine, job);
        taken += 1;
        match bench.engine.next_job() {
            Some(next) => job = next,
            None => break,
        }
    }
    assert_eq!(taken, MAX_STRIDE);
}

#[test]
fn callbacks_of_a_quarter_of_the_span_are_looked_at_one_by_one() {
    let mut bench = busy(1);
    callbacks(&mut bench, &[POLL_EVERY / 3.9; 100]);
    assert_eq!(bench.looks, 100);
    // Shorter ones are taken together, by two when two of them are as long.
    let mut bench = busy(1);
    callbacks(&mut bench, &[POLL_EVERY / 4.1; 100]);
    assert!((60..=70).contains(&bench.looks), "{}", bench.looks);
}

#[test]
fn on_a_clock_that_stands_still_only_the_first_turn_polls() {
    let mut bench = busy(1);
    callbacks(&mut bench, &[0.0; 1000]);
    assert_eq!(polls(&bench), 1);
}

#[test]
fn slow_callbacks_poll_in_every_turn() {
    let seen = callbacks(&mut busy(1), &[SLOW; 50]);
    assert_eq!(seen, (1..=50).collect::<Vec<_>>());
}

#[test]
fn callbacks_that_become_slow_poll_in_every_turn_after_one_stride() {
    let mut bench = busy(1);
    callbacks(&mut bench, &[0.0; 1000]);
    let seen = callbacks(&mut bench, &[SLOW; 50]);
    assert!(seen[MAX_STRIDE] > 1, "{seen:?}");
    assert!(seen[MAX_STRIDE..].windows(2).all(|pair| pair[1] == pair[0] + 1), "{seen:?}");
}

#[test]
fn callbacks_that_become_cheap_are_polled_for_less_and_less() {
    let mut bench = busy(1);
    callbacks(&mut bench, &[SLOW; 20]);
    let before = polls(&bench);
    callbacks(&mut bench, &[0.0; 1000]);
    assert!(polls(&bench) - before <= 1);
}

#[test]
fn io_waits_for_the_span_and_sixteen_callbacks_at_most() {
    for jobs in [1, 2, 3, 5, 10, 15, 16, 17, 18, 40] {
        for duration in [CHEAP, 1e-6, 3e-6, 12e-6, 13e-6, 49e-6, 60e-6, SLOW] {
            assert_bound(jobs, &vec![duration; 600]);
        }
        // Cheap until the stride is longest and the span nearly over, then slow.
        let cheap = [0.0; 200];
        for used in 0..60 {
            let nearly = vec![1e-6; used];
            assert_bound(jobs, &[&cheap[..], &nearly, &[SLOW; 60]].concat());
        }
    }
}

#[test]
fn io_waits_no_longer_when_callbacks_are_uneven() {
    for jobs in [1, 2, 7, 16, 30] {
        for seed in 0..20 {
            assert_bound(jobs, &mixed(1500, seed));
        }
    }
}

#[test]
fn a_host_may_choose_another_stride() {
    for stride in [1, 2, 64] {
        for (jobs, seed) in [(1, 0), (2, 1), (16, 2), (100, 3)] {
            assert_bound_of(stride, jobs, &mixed(1500, seed));
        }
    }
    let mut bench = busy(1);
    bench.engine.set_stride(64);
    // It outlasts the run.
    bench.engine.begin_run(false);
    callbacks(&mut bench, &[CHEAP; 10_000]);
    assert!(bench.looks <= 10_000 / 64 + 7, "{}", bench.looks);
}

/// Waits for an event whose callback starts a chain of jobs; says how many polls there had been
/// when each of them ran.
fn chain_after_a_wait(bench: &mut Bench, jobs: usize) -> Vec<usize> {
    readable(bench, &[3]);
    let (kernel, before) = (bench.kernel.clone(), polls(bench));
    let mut seen = Vec::new();
    bench.run(|engine, step| {
        if step == "job" {
            seen.push(kernel.timeouts().len() - before);
        }
        soon(engine, "job");
        seen.len() < jobs
    });
    seen
}

#[test]
fn what_an_event_schedules_runs_without_another_poll() {
    let mut bench = busy(0);
    bench.tick = SLOW;
    add_reader(&mut bench.engine, 3, "io");
    assert_eq!(chain_after_a_wait(&mut bench, 4), [1, 2, 3, 4]);
}

#[test]
fn an_event_is_handled_in_the_turn_that_polls() {
    let mut bench = busy(1);
    add_reader(&mut bench.engine, 3, "io");
    callbacks(&mut bench, &[1e-6; 500]);
    readable(&bench, &[3]);
    let (start, mut jobs) = (bench.now, 0);
    bench.tick = 1e-6;
    bench.run(|engine, step| {
        jobs += 1;
        soon(engine, "job");
        step != "io"
    });
    // One more callback: the job of the turn that polled.
    assert!(jobs <= 50 + MAX_STRIDE + 2, "{jobs} callbacks, {} s", bench.now - start);
}

#[test]
fn a_timer_is_late_by_the_span_and_sixteen_callbacks_at_most() {
    for duration in [CHEAP, 1e-6, 1e-5, SLOW] {
        let mut bench = busy(1);
        callbacks(&mut bench, &[duration; 300]);
        let deadline = bench.now + duration * 40.5;
        call_at(&mut bench.engine, deadline, "timer");
        bench.run(|engine, step| {
            soon(engine, "job");
            step != "timer"
        });
        let late = bench.now - duration - deadline;
        // And the job of the turn that notices.
        let most = POLL_EVERY + duration * (MAX_STRIDE + 1) as f64;
        assert!((0.0..=most).contains(&late), "{late} s late at {duration} s");
    }
}

#[test]
fn a_clock_that_goes_backwards_does_not_end_the_polls() {
    let mut bench = busy(1);
    callbacks(&mut bench, &[CHEAP; 100]);
    let before = polls(&bench);
    callbacks(&mut bench, &[-1.0; 170]);
    assert!(polls(&bench) - before >= 10);
}

#[test]
fn after_one_jump_backwards_the_polls_are_as_rare_as_before() {
    let mut bench = busy(1);
    callbacks(&mut bench, &[CHEAP; 100]);
    bench.now = -1000.0;
    let before = polls(&bench);
    callbacks(&mut bench, &[CHEAP; 1000]);
    assert!((1..=4).contains(&(polls(&bench) - before)));
}

#[test]
fn a_clock_that_is_not_ours_is_looked_at_and_the_kernel_polled_in_every_turn() {
    let mut bench = busy(1);
    bench.engine.set_strict_clock(true);
    callbacks(&mut bench, &[0.0; 100]);
    assert_eq!((polls(&bench), bench.looks), (100, 100));
}

#[test]
fn a_strict_clock_stays_strict_in_the_next_run() {
    let mut bench = busy(1);
    bench.engine.set_strict_clock(true);
    bench.engine.begin_run(false);
    callbacks(&mut bench, &[0.0; 100]);
    assert_eq!(polls(&bench), 100);
}

#[test]
fn a_strict_clock_makes_a_timer_due_in_the_turn_after_the_jump() {
    let mut bench = busy(1);
    bench.engine.set_strict_clock(true);
    call_at(&mut bench.engine, 1000.0, "timer");
    callbacks(&mut bench, &[0.0; 10]);
    bench.now = 1000.0;
    bench.tick = 0.0;
    let log = bench.run(|engine, step| {
        soon(engine, "job");
        step != "timer"
    });
    assert_eq!(log, ["job", "timer"]);
}
