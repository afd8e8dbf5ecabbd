//! librdkafka's list of topic partitions, owned.

use std::ptr::{self, NonNull};

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
    /// The note beside a committed offset; empty where there is none.
    pub metadata: String,
}

impl PartitionList {
    /// Builds a list of (topic, partition, offset).
    pub fn of<'a>(call: Call<'_>, elements: impl IntoIterator<Item = (&'a str, i32, i64)>) -> Result<Self> {
        let plain = |(topic, partition, offset)| (topic, partition, offset, "");
        Self::with_metadata(call, elements.into_iter().map(plain))
    }

    /// Builds a list of (topic, partition, offset, metadata).
    pub fn with_metadata<'a>(
        call: Call<'_>,
        elements: impl IntoIterator<Item = (&'a str, i32, i64, &'a str)>,
    ) -> Result<Self> {
        // SAFETY: the function allocates or aborts the process.
        let list = unsafe { rd::rd_kafka_topic_partition_list_new(0) };
        let Some(list) = NonNull::new(list) else {
            return Err(call.invalid("no memory for a list of partitions"));
        };
        let list = Self(list);
        for (topic, partition, offset, metadata) in elements {
            let topic = text::c_string(call, topic)?;
            // SAFETY: the list is valid, the name is copied, and the returned element lives in the list, whose
            // only user this is.
            unsafe {
                let element = rd::rd_kafka_topic_partition_list_add(list.as_ptr(), topic.as_ptr(), partition);
                (*element).offset = offset;
                set_metadata(element, metadata);
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
/// `element` is a new element without metadata that nobody else uses.
unsafe fn set_metadata(element: *mut rd::rd_kafka_topic_partition_t, metadata: &str) {
    if metadata.is_empty() {
        return;
    }
    // SAFETY: the element is valid as the caller promises. The bytes come from librdkafka's own allocator, which
    // gives as many as asked or ends the process, and are the list's from here on: it frees them with itself.
    unsafe {
        let bytes = rd::rd_kafka_mem_malloc(ptr::null_mut(), metadata.len());
        ptr::copy_nonoverlapping(metadata.as_ptr(), bytes.cast::<u8>(), metadata.len());
        (*element).metadata = bytes;
        (*element).metadata_size = metadata.len();
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
            metadata: text::of_bytes((*element).metadata, (*element).metadata_size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Call<'static> = Call { name: "test", address: "kafka:9092" };

    #[test]
    fn a_list_gives_back_what_it_was_built_of_and_frees_its_metadata() {
        let noted = [("orders", 0, 5, "watermark 12:00 \u{00e9}"), ("orders", 1, 0, "")];
        let list = PartitionList::with_metadata(CALL, noted).expect("no name has a zero byte");
        let read: Vec<_> = list.elements();
        let read: Vec<_> = read.iter().map(|e| (&*e.topic, e.partition, e.offset, &*e.metadata)).collect();
        assert_eq!(read, noted);
    }

    #[test]
    fn a_topic_with_a_zero_byte_is_refused() {
        assert!(PartitionList::of(CALL, [("or\0ders", 0, 0)]).is_err());
    }
}
