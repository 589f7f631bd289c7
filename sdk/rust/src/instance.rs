//! Values that an instance has once.

/// Declares a value of the instance, a `Cell`. In WebAssembly it is a plain
/// static, as a guest has one thread; elsewhere, where the crate is built for
/// its documentation and tests, each thread has its own.
macro_rules! instance_local {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = $value:expr;) => {
        #[cfg(target_family = "wasm")]
        $(#[$attribute])*
        static $name: $crate::instance::Single<$type> =
            $crate::instance::Single($value);
        #[cfg(not(target_family = "wasm"))]
        std::thread_local! {
            $(#[$attribute])*
            static $name: $type = const { $value };
        }
    };
}
pub(crate) use instance_local;

/// What only one thread sees.
#[cfg(target_family = "wasm")]
pub(crate) struct Single<T>(pub(crate) T);

// SAFETY: a guest has one thread.
#[cfg(target_family = "wasm")]
unsafe impl<T> Sync for Single<T> {}

#[cfg(target_family = "wasm")]
impl<T> std::ops::Deref for Single<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
