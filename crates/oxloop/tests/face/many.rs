use std::future::pending;
use std::time::Duration;

use oxloop::{ReturnWhen, as_completed, create_task, gather, sleep, timeout, wait, yield_now};

use crate::support::run;

async fn after_turns(count: usize) -> usize {
    for _ in 0..count {
        yield_now().await;
    }
    count
}

#[test]
fn gather_keeps_the_order_and_outlives_failures() {
    let results = run(async {
        let failing = create_task(async { panic!("no") });
        gather([create_task(after_turns(5)), failing, create_task(after_turns(1))]).await
    });
    let values: Vec<_> = results.iter().map(|result| result.as_ref().ok().copied()).collect();
    assert_eq!(values, [Some(5), None, Some(1)]);
    assert!(run(gather(Vec::<std::future::Ready<()>>::new())).is_empty());
}

#[test]
fn gather_that_is_dropped_cancels() {
    run(async {
        let task = create_task(pending::<()>());
        let watched = task.task_ref().clone();
        assert!(timeout(Duration::from_millis(1), gather([task])).await.is_err());
        yield_now().await;
        assert!(watched.is_done());
    });
}

#[test]
fn wait_tells_those_that_are_done_from_those_that_are_not() {
    run(async {
        let (done, pending) =
            wait([after_turns(1), after_turns(9)], ReturnWhen::FirstCompleted, None).await;
        assert_eq!((done.len(), pending.len()), (1, 1));
        let (done, pending) = wait(pending, ReturnWhen::AllCompleted, None).await;
        assert_eq!((done.len(), pending.len()), (1, 0));

        let cancelled = create_task(async { std::future::pending::<usize>().await });
        cancelled.cancel();
        let tasks = [cancelled, create_task(async { std::future::pending::<usize>().await })];
        let (done, pending) = wait(tasks, ReturnWhen::FirstException, None).await;
        assert_eq!((done.len(), pending.len()), (1, 1));

        let late = Some(Duration::from_millis(1));
        let (done, pending) = wait(pending, ReturnWhen::AllCompleted, late).await;
        assert_eq!((done.len(), pending.len()), (0, 1));
        assert!(!pending[0].is_done());
    });
}

#[test]
fn as_completed_gives_the_quick_first() {
    run(async {
        let mut ended = as_completed([4, 1, 2].map(after_turns));
        let mut order = Vec::new();
        while let Some(result) = ended.next().await {
            order.push(result.unwrap());
        }
        assert_eq!(order, [1, 2, 4]);
    });
}

#[test]
fn timeouts_leave_no_timer_behind() {
    run(async {
        for _ in 0..100 {
            timeout(Duration::from_secs(3600), yield_now()).await.unwrap();
        }
        assert!(timeout(Duration::ZERO, pending::<()>()).await.is_err());
        sleep(Duration::ZERO).await;
    });
}
