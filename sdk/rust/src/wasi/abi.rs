//! The canonical ABI's memory: result areas, lists and `cabi_realloc`.

#[cfg(target_family = "wasm")]
use std::alloc::{Layout, alloc, handle_alloc_error, realloc};

/// Declares imported functions. Outside WebAssembly they exist, for
/// documentation and tests, and panic when called.
macro_rules! imports {
    ($($module:literal {
        $($link:literal fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)?;)*
    })*) => {$(
        #[cfg(target_family = "wasm")]
        #[link(wasm_import_module = $module)]
        unsafe extern "C" {
            $(
                #[link_name = $link]
                pub(crate) fn $name($($arg: $type),*) $(-> $result)?;
            )*
        }
        $(
            #[cfg(not(target_family = "wasm"))]
            pub(crate) unsafe extern "C" fn $name($(_: $type),*) $(-> $result)? {
                unreachable!("WASI is there in WebAssembly only")
            }
        )*
    )*};
}
pub(crate) use imports;

/// Puts the encoded type of a world into the module, where `wit-component`
/// looks for it. `$link` must be kept, or the linker drops it.
macro_rules! component_type {
    ($(#[$attribute:meta])* $link:ident, $section:literal, $bytes:expr) => {
        $(#[$attribute])*
        #[inline(never)]
        pub(crate) fn $link() {
            const BYTES: &[u8] = $bytes;
            #[cfg(target_family = "wasm")]
            #[unsafe(link_section = concat!("component-type:wharf-sdk:", $section))]
            #[allow(dead_code)]
            static SECTION: [u8; BYTES.len()] = *BYTES.first_chunk().expect("of its own length");
            #[cfg(not(target_family = "wasm"))]
            let _ = BYTES;
        }
    };
}
pub(crate) use component_type;

/// Memory that the host writes a function's result into: `WORDS` times eight
/// bytes, aligned to eight.
pub(crate) struct Area<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Area<WORDS> {
    pub(crate) const fn new() -> Self {
        Area([0; WORDS])
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }

    /// The byte at an offset; discriminants are bytes.
    pub(crate) fn byte(&self, offset: usize) -> u8 {
        (self.0[offset / 8] >> (offset % 8 * 8)) as u8
    }

    /// The 32-bit word at an offset that is a multiple of four.
    pub(crate) fn word(&self, offset: usize) -> u32 {
        (self.0[offset / 8] >> (offset % 8 * 8)) as u32
    }

    /// The 64-bit word at an offset that is a multiple of eight.
    pub(crate) fn long(&self, offset: usize) -> u64 {
        self.0[offset / 8]
    }

    #[cfg(not(feature = "p2"))]
    pub(crate) fn set_word(&mut self, offset: usize, value: u32) {
        let shift = offset % 8 * 8;
        let word = &mut self.0[offset / 8];
        *word = *word & !(0xffff_ffff << shift) | u64::from(value) << shift;
    }

    /// Takes over the list or string whose pointer lies at an offset.
    ///
    /// # Safety
    ///
    /// The host has written a list of bytes there, and it is taken once.
    pub(crate) unsafe fn take_list(&self, offset: usize) -> Vec<u8> {
        // SAFETY: as this function asks.
        unsafe { take_list(self.word(offset), self.word(offset + 4)) }
    }
}

/// Takes over a list of bytes that the host made by `cabi_realloc`.
///
/// # Safety
///
/// `address` and `length` are as the host gave them, and are taken once.
pub(crate) unsafe fn take_list(address: u32, length: u32) -> Vec<u8> {
    let length = length as usize;
    if length == 0 {
        return Vec::new();
    }
    // SAFETY: the host allocated it by `cabi_realloc` with this length and an
    // alignment of one, from the global allocator.
    unsafe { Vec::from_raw_parts(address as usize as *mut u8, length, length) }
}

/// The allocator that the canonical ABI calls for results of varying length.
///
/// # Safety
///
/// As the canonical ABI says: `old` was given by this function with
/// `old_length` and `align`, or `old_length` is zero.
#[cfg(target_family = "wasm")]
#[unsafe(export_name = "cabi_realloc")]
unsafe extern "C" fn reallocate(
    old: *mut u8,
    old_length: usize,
    align: usize,
    new_length: usize,
) -> *mut u8 {
    if new_length == 0 {
        return align as *mut u8;
    }
    // SAFETY: the host passes an alignment of the canonical ABI: 1, 2, 4 or 8.
    let layout = unsafe { Layout::from_size_align_unchecked(new_length, align) };
    // SAFETY: the size is not zero, and the old block is as documented.
    let new = unsafe {
        if old_length == 0 {
            alloc(layout)
        } else {
            let old_layout = Layout::from_size_align_unchecked(old_length, align);
            realloc(old, old_layout, new_length)
        }
    };
    if new.is_null() {
        handle_alloc_error(layout);
    }
    new
}
