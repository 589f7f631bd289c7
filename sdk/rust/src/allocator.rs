//! A small allocator, for the feature `small`.
//!
//! `std`'s (dlmalloc) takes 8 KB of a component; this one takes 1 KB. Blocks
//! of up to 32 KiB have a power of two as their size and a free list for each;
//! larger ones are spans of pages, given back to a list that joins neighbours.
//! A freed small block is used for its own size only: a program that holds
//! much, frees it and then holds as much of another size needs both at once.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::null_mut;

const PAGE_BYTES: usize = 64 << 10;
const SMALL_BYTES_MAX: usize = 32 << 10;
/// 16 bytes to 32 KiB.
const CLASSES: usize = 12;

/// A free block, in the block itself. `length` counts in spans only.
struct Free {
    next: *mut Free,
    length: usize,
}

struct Heap {
    small: [*mut Free; CLASSES],
    /// Free spans of pages, in the order of their addresses.
    spans: *mut Free,
    /// The rest of the page that small blocks are cut from.
    cut: usize,
    cut_end: usize,
}

struct Allocator(UnsafeCell<Heap>);

// SAFETY: the feature does something in WebAssembly without threads only.
unsafe impl Sync for Allocator {}

#[global_allocator]
static ALLOCATOR: Allocator = Allocator(UnsafeCell::new(Heap {
    small: [null_mut(); CLASSES],
    spans: null_mut(),
    cut: 0,
    cut_end: 0,
}));

/// The class of a small block.
fn class(layout: Layout) -> usize {
    let bytes = layout.size().max(layout.align()).max(16);
    (usize::BITS - (bytes - 1).leading_zeros()) as usize - 4
}

fn is_small(layout: Layout) -> bool {
    layout.size().max(layout.align()) <= SMALL_BYTES_MAX
}

fn span_bytes(layout: Layout) -> usize {
    layout.size().div_ceil(PAGE_BYTES) * PAGE_BYTES
}

impl Heap {
    unsafe fn take_small(&mut self, class: usize) -> *mut u8 {
        let head = self.small[class];
        if !head.is_null() {
            // SAFETY: what is in the list is a free block of this class.
            self.small[class] = unsafe { (*head).next };
            return head.cast();
        }
        let bytes = 16 << class;
        // Blocks are aligned to their size, so a cut may skip some bytes.
        let mut start = self.cut.next_multiple_of(bytes);
        if start + bytes > self.cut_end {
            // SAFETY: as this function's.
            let page = unsafe { self.take_span(PAGE_BYTES) };
            if page.is_null() {
                return page;
            }
            start = page as usize;
            self.cut_end = start + PAGE_BYTES;
        }
        self.cut = start + bytes;
        start as *mut u8
    }

    unsafe fn take_span(&mut self, bytes: usize) -> *mut u8 {
        let mut link: *mut *mut Free = &mut self.spans;
        // SAFETY: the list holds free spans, and `link` points at a pointer of
        // the list.
        unsafe {
            while let Some(span) = (*link).as_mut() {
                if span.length >= bytes {
                    // The end is given, so that the list stays as it is.
                    span.length -= bytes;
                    let start = (span as *mut Free).cast::<u8>().add(span.length);
                    if span.length == 0 {
                        *link = span.next;
                    }
                    return start;
                }
                link = &mut span.next;
            }
        }
        match core::arch::wasm32::memory_grow(0, bytes / PAGE_BYTES) {
            usize::MAX => null_mut(),
            page => (page * PAGE_BYTES) as *mut u8,
        }
    }

    unsafe fn give_span(&mut self, start: *mut u8, mut length: usize) {
        let mut link: *mut *mut Free = &mut self.spans;
        let mut span = start.cast::<Free>();
        // SAFETY: the list holds free spans in order, none of which overlaps
        // the one given, and pages are aligned for a `Free`.
        unsafe {
            while let Some(before) = (*link).as_mut() {
                if before as *mut Free > span {
                    break;
                }
                let end = (before as *mut Free).cast::<u8>().add(before.length);
                if end == span.cast() {
                    length += before.length;
                    span = before;
                    *link = before.next;
                    break;
                }
                link = &mut before.next;
            }
            let mut next = *link;
            if next.cast() == span.cast::<u8>().add(length) {
                length += (*next).length;
                next = (*next).next;
            }
            span.write(Free { next, length });
            *link = span;
        }
    }
}

// SAFETY: a block is given once before it is freed, holds the layout's size,
// and is aligned: small ones to their size, spans to a page.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: there is one thread, and no call of the heap calls another.
        let heap = unsafe { &mut *self.0.get() };
        // SAFETY: as the caller's.
        unsafe {
            if is_small(layout) {
                heap.take_small(class(layout))
            } else if layout.align() <= PAGE_BYTES {
                heap.take_span(span_bytes(layout))
            } else {
                null_mut()
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        let heap = unsafe { &mut *self.0.get() };
        if is_small(layout) {
            let head = &mut heap.small[class(layout)];
            let free = block.cast::<Free>();
            // SAFETY: the block has room for it, and is not used any more.
            unsafe { (*free).next = *head };
            *head = free;
        } else {
            // SAFETY: the block is a span of this length.
            unsafe { heap.give_span(block, span_bytes(layout)) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps to the limits of a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let stays = match (is_small(layout), is_small(wanted)) {
            (true, true) => class(layout) == class(wanted),
            (false, false) => span_bytes(layout) == span_bytes(wanted),
            _ => false,
        };
        if stays {
            return block;
        }
        // SAFETY: the new block is another one, with room for what is copied.
        unsafe {
            let new = self.alloc(wanted);
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}
