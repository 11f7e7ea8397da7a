//! The one way in which this crate makes an ioctl call.

#![allow(unsafe_code)]

use rustix::fd::AsFd;
use rustix::io::Result;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};
use std::ffi::c_void;

struct Call<T> {
    opcode: Opcode,
    argument: *mut T,
}

// SAFETY: the opcode and the pointer are handed on as they are; that they belong together is promised to `call`.
unsafe impl<T> Ioctl for Call<T> {
    type Output = IoctlOutput;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument.cast()
    }

    // SAFETY: the pointer is not used; the output is the return value.
    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> Result<IoctlOutput> {
        Ok(output)
    }
}

/// Makes the ioctl `opcode` with a pointer to `argument`, and gives what it returned (0 or more).
///
/// # Safety
/// `opcode` must read and write nothing but the bytes of `*argument`, and leave a valid `T` there.
pub(super) unsafe fn call<T>(fd: impl AsFd, opcode: Opcode, argument: &mut T) -> Result<IoctlOutput> {
    rustix::io::retry_on_intr(|| {
        // SAFETY: promised by the caller; the reference is valid and unique for the time of the call.
        unsafe {
            rustix::ioctl::ioctl(
                fd.as_fd(),
                Call {
                    opcode,
                    argument: &raw mut *argument,
                },
            )
        }
    })
}
