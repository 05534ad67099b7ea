//! What is asked of the allocator of the C library: of that of GNU on Linux, others cannot be asked.

/// Asks the allocator to give back what it keeps. Source: `malloc_trim(3)`.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "no crate has it safe")]
pub(crate) fn trim_heap() {
    // SAFETY: may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has the allocator of the C library keep to its documented threshold, 128 KiB, from which on memory
/// is the system's own: it can grow without a copy, and goes back when it is freed. Without this the
/// first large block that is freed raises the threshold, up to 32 MiB, and what large frames leave
/// behind stays with the process, which a container then ends. Who has said otherwise in the
/// environment is left alone. Source: `mallopt(3)`, `M_MMAP_THRESHOLD`.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "no crate has it safe")]
pub(crate) fn keep_heap_small() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let said = ["MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"];
        if said.iter().all(|name| std::env::var_os(name).is_none()) {
            // SAFETY: may be called at any time, from any thread.
            unsafe {
                libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024);
            }
        }
    });
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep_heap_small() {}

/// Asks the allocator to give back what it keeps: this one cannot be asked.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn trim_heap() {}
