//! librdkafka's list of topic partitions, owned.

use std::ptr::NonNull;

use rdkafka::bindings as rd;

use super::text;
use crate::error::{Call, Result};

/// Freed exactly once, on drop.
pub(crate) struct PartitionList(NonNull<rd::rd_kafka_topic_partition_list_t>);

// SAFETY: the list is plain memory without any tie to a thread, owned by this value alone.
unsafe impl Send for PartitionList {}

/// A copy of one element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub error: i32,
}

impl PartitionList {
    /// Builds a list of (topic, partition, offset).
    pub fn of<'a>(call: Call<'_>, elements: impl IntoIterator<Item = (&'a str, i32, i64)>) -> Result<Self> {
        // SAFETY: the function allocates or aborts the process.
        let list = unsafe { rd::rd_kafka_topic_partition_list_new(0) };
        let Some(list) = NonNull::new(list) else {
            return Err(call.invalid("no memory for a list of partitions"));
        };
        let list = Self(list);
        for (topic, partition, offset) in elements {
            let topic = text::c_string(call, topic)?;
            // SAFETY: the list is valid, the name is copied, and the returned element lives in the list, whose
            // only user this is.
            unsafe {
                let element = rd::rd_kafka_topic_partition_list_add(list.as_ptr(), topic.as_ptr(), partition);
                (*element).offset = offset;
            }
        }
        Ok(list)
    }

    pub fn as_ptr(&self) -> *mut rd::rd_kafka_topic_partition_list_t {
        self.0.as_ptr()
    }

    pub fn elements(&self) -> Vec<Element> {
        // SAFETY: the list is valid as long as `self` is.
        unsafe { read(self.as_ptr()) }
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: owned by this value, so freed once and used by nobody after.
        unsafe { rd::rd_kafka_topic_partition_list_destroy(self.0.as_ptr()) }
    }
}

/// Copies a list that belongs to someone else; null is empty.
///
/// # Safety
/// `list` is null or a valid list that nobody changes during the call.
pub(crate) unsafe fn read(list: *const rd::rd_kafka_topic_partition_list_t) -> Vec<Element> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: valid as the caller promises; `elems` holds `cnt` elements.
    unsafe {
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        (0..count).map(|index| read_element((*list).elems.add(index))).collect()
    }
}

/// # Safety
/// `element` is a valid element that nobody changes during the call.
pub(crate) unsafe fn read_element(element: *const rd::rd_kafka_topic_partition_t) -> Element {
    // SAFETY: valid as the caller promises. The error is read as a number, since it may be one that the bindings'
    // enum doesn't have.
    unsafe {
        Element {
            topic: text::owned((*element).topic),
            partition: (*element).partition,
            offset: (*element).offset,
            error: (&raw const (*element).err).cast::<i32>().read(),
        }
    }
}
