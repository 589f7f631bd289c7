//! The allocator of pure builds: 1 KB of code where `std`'s (dlmalloc) takes 8.
//!
//! A block is a word with its size and then its content. Free neighbours are
//! joined at once, so a free block is found by its size alone: there is a list
//! for every quarter of a power of two, and a bit that says whether it is
//! empty. Taking and freeing looks at a bounded number of blocks.
//!
//! A free block also holds the links of its list, and its size once more at
//! its end, where the block after it looks when it is freed itself.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::null_mut;

const WORD_BYTES: usize = size_of::<usize>();
/// What sizes are multiples of, and contents are aligned to.
const GRAIN_BYTES: usize = 2 * WORD_BYTES;
/// Room for the size, two links and the size.
const BLOCK_BYTES_MIN: usize = 2 * GRAIN_BYTES;

/// Beside the size: the block is free.
const FREE: usize = 1;
/// Beside the size: the block before it is free.
const AFTER_FREE: usize = 2;

const LISTS: usize = 4 * (usize::BITS - BLOCK_BYTES_MIN.ilog2()) as usize;

/// How many blocks of about the right size are looked at.
const LOOKS_MAX: usize = 16;

/// Where memory comes from.
pub(crate) trait Source {
    /// As many bytes more, in words; best behind those of the last time.
    fn more(bytes: usize) -> Option<Range<usize>>;
}

/// An allocator for one thread.
pub(crate) struct Allocator<S>(UnsafeCell<Heap<S>>);

struct Heap<S> {
    lists: [usize; LISTS],
    /// A bit for each list that is not empty.
    filled: [u32; LISTS.div_ceil(32)],
    /// The end of the memory that came last.
    end: usize,
    source: PhantomData<S>,
}

/// The word at an address.
fn word(address: usize) -> *mut usize {
    address as *mut usize
}

/// A block's size.
unsafe fn size(block: usize) -> usize {
    // SAFETY: a block starts with its size.
    unsafe { *word(block) & !(GRAIN_BYTES - 1) }
}

fn list_of(size: usize) -> usize {
    let log = size.ilog2();
    let quarter = size >> (log - 2) & 3;
    4 * (log - BLOCK_BYTES_MIN.ilog2()) as usize + quarter
}

/// The size of the block for a content.
fn block_bytes(content_bytes: usize) -> usize {
    let bytes = (content_bytes + WORD_BYTES).next_multiple_of(GRAIN_BYTES);
    bytes.max(BLOCK_BYTES_MIN)
}

/// All take blocks by the address of their size, which must be in this heap.
impl<S: Source> Heap<S> {
    const fn new() -> Self {
        Heap {
            lists: [0; LISTS],
            filled: [0; LISTS.div_ceil(32)],
            end: 0,
            source: PhantomData,
        }
    }

    /// Takes a free block out of its list.
    unsafe fn unlink(&mut self, block: usize) {
        // SAFETY: a free block holds its links, which are blocks or 0.
        unsafe {
            let next = *word(block + WORD_BYTES);
            let previous = *word(block + 2 * WORD_BYTES);
            if next != 0 {
                *word(next + 2 * WORD_BYTES) = previous;
            }
            if previous != 0 {
                *word(previous + WORD_BYTES) = next;
            } else {
                let list = list_of(size(block));
                self.lists[list] = next;
                if next == 0 {
                    self.filled[list / 32] &= !(1 << (list % 32));
                }
            }
        }
    }

    /// Frees a block of a size, joined with its free neighbours.
    unsafe fn free(&mut self, mut block: usize, mut bytes: usize) {
        // SAFETY: the block is in use, and neighbours of blocks are blocks; at
        // the end of the memory is one of size 0 that is never free.
        unsafe {
            if *word(block) & AFTER_FREE != 0 {
                let before = *word(block - WORD_BYTES);
                block -= before;
                bytes += before;
                self.unlink(block);
            }
            let after = block + bytes;
            if *word(after) & FREE != 0 {
                bytes += size(after);
                self.unlink(after);
            }
            let list = list_of(bytes);
            let next = self.lists[list];
            if next != 0 {
                *word(next + 2 * WORD_BYTES) = block;
            }
            self.lists[list] = block;
            self.filled[list / 32] |= 1 << (list % 32);
            *word(block) = bytes | FREE;
            *word(block + WORD_BYTES) = next;
            *word(block + 2 * WORD_BYTES) = 0;
            *word(block + bytes - WORD_BYTES) = bytes;
            *word(block + bytes) |= AFTER_FREE;
        }
    }

    /// Frees the end of a block in use, if it is enough for a block.
    unsafe fn trim(&mut self, block: usize, bytes: usize) {
        // SAFETY: the rest lies in the block, and becomes one in use.
        unsafe {
            let rest = size(block) - bytes;
            if rest >= BLOCK_BYTES_MIN {
                *word(block) -= rest;
                *word(block + bytes) = rest;
                self.free(block + bytes, rest);
            }
        }
    }

    /// A free block of at least this size, or 0.
    unsafe fn find(&self, bytes: usize) -> usize {
        let list = list_of(bytes);
        let mut block = self.lists[list];
        for _ in 0..LOOKS_MAX {
            if block == 0 {
                break;
            }
            // SAFETY: what is in a list is a free block.
            unsafe {
                if size(block) >= bytes {
                    return block;
                }
                block = *word(block + WORD_BYTES);
            }
        }
        // All blocks of later lists are large enough.
        let first = list + 1;
        let mut mask = u32::MAX << (first % 32);
        for (index, filled) in self.filled.iter().enumerate().skip(first / 32) {
            let filled = filled & mask;
            if filled != 0 {
                return self.lists[32 * index + filled.trailing_zeros() as usize];
            }
            mask = u32::MAX;
        }
        0
    }

    /// A block in use of at least this size, or 0.
    unsafe fn take(&mut self, bytes: usize) -> usize {
        // SAFETY: as the functions ask.
        unsafe {
            let block = loop {
                let block = self.find(bytes);
                if block != 0 {
                    break block;
                }
                if !self.grow(bytes) {
                    return 0;
                }
            };
            self.unlink(block);
            *word(block) &= !FREE;
            *word(block + size(block)) &= !AFTER_FREE;
            self.trim(block, bytes);
            block
        }
    }

    unsafe fn grow(&mut self, bytes: usize) -> bool {
        let Some(memory) = S::more(bytes + 4 * GRAIN_BYTES) else {
            return false;
        };
        // SAFETY: the memory is given for good, and none of it is in use.
        unsafe {
            let end = (memory.end & !(GRAIN_BYTES - 1)) - WORD_BYTES;
            let block = if memory.start == self.end {
                memory.start - WORD_BYTES
            } else {
                let block = memory.start.next_multiple_of(GRAIN_BYTES) + WORD_BYTES;
                *word(block) = 0;
                block
            };
            self.end = memory.end;
            *word(end) = 0;
            self.free(block, end - block);
        }
        true
    }

    unsafe fn take_aligned(&mut self, bytes: usize, align: usize) -> usize {
        // SAFETY: the block has room for a free block before the aligned
        // content.
        unsafe {
            let block = self.take(bytes + align + BLOCK_BYTES_MIN);
            let content = block + WORD_BYTES;
            if block == 0 || content.is_multiple_of(align) {
                return block;
            }
            let aligned = (content + BLOCK_BYTES_MIN).next_multiple_of(align) - WORD_BYTES;
            *word(aligned) = block + size(block) - aligned;
            self.free(block, aligned - block);
            self.trim(aligned, bytes);
            aligned
        }
    }

    /// Makes a block as large in its place, if it can.
    unsafe fn resize(&mut self, block: usize, bytes: usize) -> bool {
        // SAFETY: the block after a block is one.
        unsafe {
            let after = block + size(block);
            let room = match *word(after) & FREE {
                0 => 0,
                _ => size(after),
            };
            // Where the memory must grow, the last block grows with it, so that
            // a buffer that is filled is not copied, nor there twice.
            let have = size(block) + room;
            let is_last = after + room + WORD_BYTES == self.end;
            if have < bytes && is_last && self.find(bytes) == 0 {
                self.grow(bytes - have);
            }
            if *word(after) & FREE != 0 && size(block) < bytes {
                let both = size(block) + size(after);
                if both < bytes {
                    return false;
                }
                self.unlink(after);
                *word(block) += size(after);
                *word(block + both) &= !AFTER_FREE;
            }
            let fits = size(block) >= bytes;
            if fits {
                self.trim(block, bytes);
            }
            fits
        }
    }
}

impl<S: Source> Allocator<S> {
    pub(crate) const fn new() -> Self {
        Allocator(UnsafeCell::new(Heap::new()))
    }
}

// SAFETY: it is used in WebAssembly without threads only, and by tests each of
// which has its own.
unsafe impl<S> Sync for Allocator<S> {}

// SAFETY: a block is in use once at a time, has room for the layout's size
// behind the word with its own, and its content is aligned as asked.
unsafe impl<S: Source> GlobalAlloc for Allocator<S> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let bytes = block_bytes(layout.size());
        // SAFETY: there is one thread, and no call of the heap calls another.
        let block = unsafe {
            let heap = &mut *self.0.get();
            match layout.align() {
                0..=GRAIN_BYTES => heap.take(bytes),
                align => heap.take_aligned(bytes, align),
            }
        };
        match block {
            0 => null_mut(),
            block => (block + WORD_BYTES) as *mut u8,
        }
    }

    unsafe fn dealloc(&self, content: *mut u8, _: Layout) {
        let block = content as usize - WORD_BYTES;
        // SAFETY: as in `alloc`; the content is that of a block in use.
        unsafe { (*self.0.get()).free(block, size(block)) };
    }

    unsafe fn realloc(&self, content: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let block = content as usize - WORD_BYTES;
        // SAFETY: as in `dealloc`. The new block is another one, with room for
        // what is copied.
        unsafe {
            if (*self.0.get()).resize(block, block_bytes(bytes)) {
                return content;
            }
            let new = self.alloc(Layout::from_size_align_unchecked(bytes, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(content, layout.size());
                self.dealloc(content, layout);
            }
            new
        }
    }
}

/// The instance's memory.
#[cfg(target_family = "wasm")]
mod memory {
    use std::arch::wasm32::{memory_grow, memory_size};
    use std::ops::Range;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::{Allocator, Source};

    const PAGE_BYTES: usize = 64 << 10;
    const REST_BYTES_MIN: usize = 1 << 10;

    #[global_allocator]
    static ALLOCATOR: Allocator<Memory> = Allocator::new();

    unsafe extern "C" {
        /// Where the linker's data and stack end.
        static __heap_base: u8;
    }

    struct Memory;

    impl Source for Memory {
        fn more(bytes: usize) -> Option<Range<usize>> {
            static STARTED: AtomicBool = AtomicBool::new(false);
            let end = || match memory_size(0).wrapping_mul(PAGE_BYTES) {
                // 4 GiB. The very last bytes are left out.
                0 => usize::MAX,
                end => end,
            };
            if !STARTED.swap(true, Ordering::Relaxed) {
                // The rest of the last page. It may be less than asked for.
                let start = &raw const __heap_base as usize;
                if start + REST_BYTES_MIN <= end() {
                    return Some(start..end());
                }
            }
            match memory_grow(0, bytes.div_ceil(PAGE_BYTES)) {
                usize::MAX => None,
                page => Some(page * PAGE_BYTES..end()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;
    use std::ops::Range;

    use super::{Allocator, GRAIN_BYTES, Source, block_bytes};

    thread_local! {
        /// Start and bytes given of the memory that a test has.
        static MEMORY: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    }

    const PAGE_BYTES: usize = 64 << 10;
    const MEMORY_BYTES: usize = 64 << 20;

    struct Pages;

    impl Source for Pages {
        fn more(bytes: usize) -> Option<Range<usize>> {
            let (mut start, given) = MEMORY.get();
            if start == 0 {
                let layout = Layout::from_size_align(MEMORY_BYTES, PAGE_BYTES).ok()?;
                // SAFETY: the layout has a size.
                start = unsafe { System.alloc(layout) } as usize;
            }
            let bytes = bytes.next_multiple_of(PAGE_BYTES);
            if given + bytes > MEMORY_BYTES {
                return None;
            }
            MEMORY.set((start, given + bytes));
            Some(start + given..start + given + bytes)
        }
    }

    /// Numbers that look random, the same in every run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % limit as u64) as usize
        }

        /// Small ones most often, as programs ask for them.
        fn size(&mut self, log_max: usize) -> usize {
            let log = self.below(log_max + 1);
            1 + self.below(1 << log)
        }
    }

    struct Held {
        content: *mut u8,
        layout: Layout,
        mark: u8,
    }

    /// A program: its allocator, what it holds, and the most it held.
    struct Program {
        allocator: Allocator<Pages>,
        held: Vec<Held>,
        bytes: usize,
        bytes_max: usize,
        count: u8,
    }

    impl Program {
        fn new() -> Self {
            Program {
                allocator: Allocator::new(),
                held: Vec::new(),
                bytes: 0,
                bytes_max: 0,
                count: 0,
            }
        }

        fn hold(&mut self, bytes: usize, align: usize) -> bool {
            let layout = Layout::from_size_align(bytes, align).expect("a layout");
            // SAFETY: the layout has a size.
            let content = unsafe { self.allocator.alloc(layout) };
            if content.is_null() {
                return false;
            }
            assert_eq!(content as usize % align.max(GRAIN_BYTES), 0);
            self.count = self.count.wrapping_add(1);
            let mark = self.count;
            // SAFETY: the block has this many bytes.
            unsafe { content.write_bytes(mark, bytes) };
            self.held.push(Held {
                content,
                layout,
                mark,
            });
            self.count_bytes(0, bytes);
            true
        }

        /// Counts blocks: the word before a content is known, and twice as
        /// large here as in WebAssembly.
        fn count_bytes(&mut self, gone: usize, new: usize) {
            let block = |bytes| match bytes {
                0 => 0,
                bytes => block_bytes(bytes),
            };
            self.bytes = self.bytes + block(new) - block(gone);
            self.bytes_max = self.bytes_max.max(self.bytes);
        }

        /// That nobody else wrote into a block.
        fn check(held: &Held, bytes: usize) {
            // SAFETY: the block has at least this many bytes, all written.
            let content = unsafe { std::slice::from_raw_parts(held.content, bytes) };
            assert!(content.iter().all(|byte| *byte == held.mark));
        }

        fn drop_at(&mut self, index: usize) {
            let held = self.held.swap_remove(index);
            Self::check(&held, held.layout.size());
            self.count_bytes(held.layout.size(), 0);
            // SAFETY: it was taken with this layout, and is not used again.
            unsafe { self.allocator.dealloc(held.content, held.layout) };
        }

        fn resize(&mut self, index: usize, bytes: usize) {
            let mut held = self.held.swap_remove(index);
            let old = held.layout.size();
            // SAFETY: it was taken with this layout, and the size is not 0.
            held.content = unsafe { self.allocator.realloc(held.content, held.layout, bytes) };
            assert!(!held.content.is_null());
            Self::check(&held, old.min(bytes));
            // SAFETY: the block has this many bytes.
            unsafe { held.content.write_bytes(held.mark, bytes) };
            held.layout = Layout::from_size_align(bytes, held.layout.align()).expect("a layout");
            self.count_bytes(old, bytes);
            self.held.push(held);
        }

        /// Memory taken, in hundredths of the most that was held at once.
        fn overhead(&self) -> usize {
            MEMORY.get().1 * 100 / self.bytes_max
        }
    }

    #[test]
    fn blocks_keep_apart_under_all_calls() {
        let mut program = Program::new();
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        for _ in 0..60_000 {
            let count = program.held.len();
            match numbers.below(8) {
                0..=2 => {
                    let align = 1 << numbers.below(13);
                    let bytes = numbers.size(14);
                    assert!(program.hold(bytes, align));
                }
                3..=5 if count > 0 => program.drop_at(numbers.below(count)),
                6 if count > 0 => program.resize(numbers.below(count), numbers.size(15)),
                _ => {}
            }
        }
        while let Some(last) = program.held.len().checked_sub(1) {
            program.drop_at(last);
        }
        // All of it is one block again.
        assert!(program.hold(MEMORY.get().1 - 64, 1));
    }

    #[test]
    fn memory_stays_near_what_is_held() {
        let check = |name: &str, limit: usize, work: &dyn Fn(&mut Program, &mut Numbers)| {
            MEMORY.set((0, 0));
            let mut program = Program::new();
            work(&mut program, &mut Numbers(0x2545_f491_4f6c_dd1d));
            let overhead = program.overhead();
            assert!(overhead <= limit, "{name}: {overhead} %");
        };
        // A cache of fixed weight whose entries come and go.
        let churn = |log_max: usize| {
            move |program: &mut Program, numbers: &mut Numbers| {
                let mut turned_over = 0;
                while turned_over < 48 << 20 {
                    let bytes = numbers.size(log_max);
                    turned_over += bytes;
                    program.hold(bytes, 8);
                    while program.bytes > 4 << 20 {
                        program.drop_at(numbers.below(program.held.len()));
                    }
                }
            }
        };
        check("small entries", 110, &churn(8));
        check("mixed entries", 150, &churn(16));
        check("large entries", 150, &churn(18));
        // All of one size goes, and another size comes.
        check("phases", 110, &|program, _| {
            for bytes in [24, 1000, 40, 70_000, 300, 8_000, 100, 200_000] {
                while program.bytes < 2 << 20 {
                    program.hold(bytes, 8);
                }
                while let Some(last) = program.held.len().checked_sub(1) {
                    program.drop_at(last);
                }
            }
        });
        check("one buffer", 105, &|program, _| {
            program.hold(1 << 10, 1);
            for log in 11..24 {
                program.resize(0, 1 << log);
            }
        });
        // Requests that each grow a few buffers while others are under way.
        check("growing buffers", 150, &|program, numbers| {
            for _ in 0..8_000 {
                if program.held.len() > 64 {
                    program.drop_at(numbers.below(program.held.len()));
                }
                program.hold(64, 1);
                for _ in 0..4 {
                    let index = numbers.below(program.held.len());
                    let bytes = program.held[index].layout.size();
                    if bytes < 1 << 18 {
                        program.resize(index, 2 * bytes);
                    }
                }
            }
        });
    }

    #[test]
    fn where_no_memory_is_left_nothing_breaks() {
        let mut program = Program::new();
        while program.hold(1 << 20, 8) {}
        assert!(!program.hold(usize::MAX / 4, 8));
        let full = program.held.len();
        for _ in 0..full / 2 {
            program.drop_at(0);
        }
        for _ in 0..full / 2 {
            assert!(program.hold(1 << 20, 8));
        }
        assert!(program.hold(100, 8));
    }
}
