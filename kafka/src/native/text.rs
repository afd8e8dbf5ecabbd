//! Strings to and from C.

use std::ffi::{CStr, CString, c_char, c_void};
use std::slice;

use crate::error::{Call, Result};

/// Room for librdkafka's error texts.
pub(crate) const ERROR_TEXT_BYTES: usize = 512;

/// A name for librdkafka; refused if it has a zero byte.
pub(crate) fn c_string(call: Call<'_>, text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| call.invalid(format!("{text:?} has a zero byte")))
}

/// A copy of a C string; null is empty.
///
/// # Safety
/// `text` is null or points to a string that ends with a zero byte and lives for the length of the call.
pub(crate) unsafe fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and valid as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// A copy of a C string, or `None` for null.
///
/// # Safety
/// As for [`owned`].
pub(crate) unsafe fn owned_if_some(text: *const c_char) -> Option<String> {
    // SAFETY: as the caller promises.
    (!text.is_null()).then(|| unsafe { owned(text) })
}

/// A copy of bytes that should be text; null is empty.
///
/// # Safety
/// `start` is null or points to `length` bytes that live and don't change for the length of the call.
pub(crate) unsafe fn of_bytes(start: *const c_void, length: usize) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: not null, and valid as the caller promises.
    String::from_utf8_lossy(unsafe { slice::from_raw_parts(start.cast::<u8>(), length) }).into_owned()
}

/// The name librdkafka gives an error code.
pub(crate) fn describe(code: rdkafka::bindings::rd_kafka_resp_err_t) -> String {
    // SAFETY: the function returns a static string for any code.
    unsafe { owned(rdkafka::bindings::rd_kafka_err2str(code)) }
}
