//! Heap types that derive from a class of the running interpreter.
//!
//! Such a class is written in Python, with `__slots__`; its instances have a layout that only the
//! interpreter knows. Ours begins with it and continues with a tail of our own. The offsets of the
//! base's slots are read from its member descriptors.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int, c_uint, c_void};
use std::fmt;
use std::ptr::NonNull;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyMappingProxy, PyTuple, PyType};

use super::{Raised, Ref};

/// A heap type with a tail.
pub(crate) struct Class {
    ty: NonNull<ffi::PyTypeObject>,
    /// Where the tail begins, in bytes.
    tail: usize,
    /// Offsets of the base's slots that hold references.
    slots: Box<[isize]>,
    /// What the type was told of its members.
    _members: Box<[ffi::PyMemberDef]>,
    /// Memory of instances that are gone, for the next ones.
    free: UnsafeCell<Vec<*mut ffi::PyObject>>,
}

/// How many instances' memory a class keeps at most: more than a busy loop has in flight.
const FREE_AT_MOST: usize = 16384;

// SAFETY: a type object that lives as long as the process; see `Class::build`.
unsafe impl Send for Class {}
// SAFETY: as above; the free list is touched by attached threads only, and the module declares
// that it needs the GIL.
unsafe impl Sync for Class {}

/// What a class is made of.
pub(crate) struct ClassSpec {
    pub(crate) name: &'static CStr,
    /// Where the tail begins: at the end of the base ([`base_size`]) or behind it, so that classes
    /// with different bases can have their tails at one offset.
    pub(crate) tail: usize,
    pub(crate) tail_size: usize,
    pub(crate) slots: Vec<ffi::PyType_Slot>,
    /// Offsets of reference slots that the class adds to the base's, before the tail.
    pub(crate) own_slots: Vec<isize>,
    /// Attributes at fixed offsets.
    pub(crate) members: Vec<ffi::PyMemberDef>,
}

impl Class {
    /// The type of objects that only carry a `T` through a queue: Python never gets hold of one, and
    /// the collector does not know them.
    pub(crate) fn carrier<T>(
        py: Python<'_>,
        name: &'static CStr,
        traverse: ffi::traverseproc,
        dealloc: ffi::destructor,
    ) -> PyResult<Class> {
        let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
        let base = py.get_type::<PyAny>();
        let spec = ClassSpec {
            name,
            tail: base_size(&base),
            tail_size: size_of::<T>(),
            slots: vec![
                slot(ffi::Py_tp_traverse, traverse as *mut c_void),
                slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
            ],
            own_slots: Vec::new(),
            members: Vec::new(),
        };
        Class::build(&base, spec)
    }

    /// Makes the type. It is never freed: instances on the free list and statics refer to it.
    pub(crate) fn build(base: &Bound<'_, PyType>, spec: ClassSpec) -> PyResult<Class> {
        let py = base.py();
        if spec.tail < base_size(base) {
            return Err(PyTypeError::new_err(format!("{base} is too large for {:?}", spec.name)));
        }
        let tail = spec.tail;
        let (mut slots, mut members) = (spec.slots, spec.members);
        members.push(ffi::PyMemberDef::default());
        let mut members = members.into_boxed_slice();
        slots.push(ffi::PyType_Slot {
            slot: ffi::Py_tp_members,
            pfunc: members.as_mut_ptr().cast(),
        });
        slots.push(ffi::PyType_Slot { slot: 0, pfunc: std::ptr::null_mut() });
        let flags = ffi::Py_TPFLAGS_DEFAULT
            | ffi::Py_TPFLAGS_HAVE_GC
            | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
        let mut definition = ffi::PyType_Spec {
            name: spec.name.as_ptr(),
            basicsize: (tail + spec.tail_size) as c_int,
            itemsize: 0,
            flags: flags as c_uint,
            slots: slots.as_mut_ptr(),
        };
        let bases = PyTuple::new(py, [base])?;
        // SAFETY: the spec and the terminated slot list are valid for the call; what the slots
        // point to is static, leaked by `leak_table`, or stays with the class.
        let object = unsafe { ffi::PyType_FromSpecWithBases(&mut definition, bases.as_ptr()) };
        let ty = NonNull::new(object.cast()).ok_or_else(|| PyErr::fetch(py))?;
        let mut references = reference_slots(base)?;
        references.extend(spec.own_slots);
        let (slots, free) = (references.into_boxed_slice(), UnsafeCell::default());
        Ok(Class { ty, tail, slots, _members: members, free })
    }

    pub(crate) fn as_ptr(&self) -> *mut ffi::PyTypeObject {
        self.ty.as_ptr()
    }

    pub(crate) fn bind<'py>(&self, py: Python<'py>) -> Bound<'py, PyType> {
        // SAFETY: a live type object.
        unsafe {
            Bound::from_borrowed_ptr(py, self.ty.as_ptr().cast()).cast_into_unchecked::<PyType>()
        }
    }

    /// A new instance with empty slots and an unspecified tail, not tracked by the collector.
    ///
    /// # Safety
    /// The caller writes the tail before anybody sees the instance, then tracks it.
    #[inline]
    pub(crate) unsafe fn allocate(&self, _py: Python<'_>) -> Result<Ref, Raised> {
        // SAFETY: the list is touched by attached threads only, and not while Python runs; what is
        // on it is memory of this very type, its slots emptied.
        unsafe {
            if let Some(object) = (*self.free.get()).pop() {
                // Its count is 0, its type still set and referred to.
                ffi::Py_INCREF(object);
                return Ref::from_call(object);
            }
            let object = Ref::from_call(ffi::PyType_GenericAlloc(self.as_ptr(), 0))?;
            ffi::PyObject_GC_UnTrack(object.as_ptr().cast());
            Ok(object)
        }
    }

    /// Takes back the memory of an instance whose last reference is gone.
    ///
    /// # Safety
    /// For the end of `tp_dealloc`: untracked, slots and tail emptied.
    #[inline]
    pub(crate) unsafe fn free(&self, object: *mut ffi::PyObject) {
        // SAFETY: by contract; the list as in `allocate`. An instance refers to its type.
        unsafe {
            let free = &mut *self.free.get();
            if free.len() < FREE_AT_MOST && free.try_reserve(1).is_ok() {
                free.push(object);
            } else {
                ffi::PyObject_GC_Del(object.cast());
                ffi::Py_DECREF(self.as_ptr().cast());
            }
        }
    }

    /// Whether `object` is exactly of this type.
    #[inline]
    pub(crate) fn is_type_of(&self, object: *mut ffi::PyObject) -> bool {
        // SAFETY: callers pass live objects.
        unsafe { ffi::Py_TYPE(object) == self.ty.as_ptr() }
    }

    /// The tail of an instance.
    ///
    /// # Safety
    /// `object` is an instance of this class.
    #[inline]
    pub(crate) unsafe fn tail<T>(&self, object: *mut ffi::PyObject) -> *mut T {
        // SAFETY: the instance has `tail_size` bytes there.
        unsafe { object.byte_add(self.tail).cast() }
    }

    /// Visits what the base's slots refer to, and the type.
    ///
    /// # Safety
    /// For `tp_traverse` of this class.
    pub(crate) unsafe fn traverse(
        &self,
        object: *mut ffi::PyObject,
        visit: ffi::visitproc,
        arg: *mut c_void,
    ) -> c_int {
        // SAFETY: the offsets are those of reference slots of the base.
        unsafe {
            for &offset in &self.slots {
                let value = *slot(object, offset);
                if !value.is_null() {
                    let stop = visit(value, arg);
                    if stop != 0 {
                        return stop;
                    }
                }
            }
            visit(ffi::Py_TYPE(object).cast(), arg)
        }
    }

    /// Empties the base's slots.
    ///
    /// # Safety
    /// For `tp_clear` and `tp_dealloc` of this class.
    #[inline]
    pub(crate) unsafe fn clear_slots(&self, object: *mut ffi::PyObject) {
        for &offset in &self.slots {
            // SAFETY: as in `traverse`; the slot is emptied before the reference is dropped.
            unsafe {
                let place = slot(object, offset);
                let value = std::ptr::replace(place, std::ptr::null_mut());
                ffi::Py_XDECREF(value);
            }
        }
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Class")
            .field("ty", &self.ty)
            .field("tail", &self.tail)
            .finish_non_exhaustive()
    }
}

/// The size of instances of a base class, in bytes: where a tail can begin.
pub(crate) fn base_size(base: &Bound<'_, PyType>) -> usize {
    // SAFETY: a type object; basicsize is readable on every version.
    let size = unsafe { (*base.as_type_ptr()).tp_basicsize } as usize;
    size.next_multiple_of(align_of::<usize>())
}

/// Where a reference slot of an instance is.
///
/// # Safety
/// `offset` is one of the object's type.
#[inline]
pub(crate) unsafe fn slot(object: *mut ffi::PyObject, offset: isize) -> *mut *mut ffi::PyObject {
    // SAFETY: by contract.
    unsafe { object.byte_offset(offset).cast() }
}

/// The offset of the slot `name` in instances of `class`.
pub(crate) fn slot_offset(class: &Bound<'_, PyType>, name: &str) -> PyResult<isize> {
    let attribute = class.getattr(name)?;
    reference_offset(&attribute)
        .ok_or_else(|| PyTypeError::new_err(format!("{class} has no reference slot named {name}")))
}

fn reference_slots(class: &Bound<'_, PyType>) -> PyResult<Vec<isize>> {
    let mut offsets = Vec::new();
    for ancestor in class.mro() {
        let namespace = ancestor.getattr("__dict__")?;
        for value in namespace.cast::<PyMappingProxy>()?.values()?.iter() {
            offsets.extend(reference_offset(&value));
        }
    }
    Ok(offsets)
}

fn reference_offset(attribute: &Bound<'_, PyAny>) -> Option<isize> {
    // SAFETY: the type check makes it a member descriptor, whose definition lives as long as it.
    unsafe {
        if ffi::Py_TYPE(attribute.as_ptr()) != &raw mut ffi::PyMemberDescr_Type {
            return None;
        }
        let descriptor = attribute.as_ptr().cast::<ffi::PyMemberDescrObject>();
        let member = &*(*descriptor).d_member;
        (member.type_code == ffi::Py_T_OBJECT_EX).then_some(member.offset)
    }
}
