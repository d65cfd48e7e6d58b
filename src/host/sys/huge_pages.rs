//! Impure. Tables in huge pages.

use std::ops::Range;

/// The size of a huge page on most hosts, in bytes. Where it is larger, the kernel uses none for a table that is too small.
const HUGE_PAGE: usize = 2 << 20;
/// Room for what the allocator puts beside a table, in bytes.
const BESIDE: usize = 4096;

/// Returns a table of `length` default values, in huge pages if it is large enough and the host has them.
///
/// A packet's look-up goes to any place of a large table. With pages of 4 KiB the CPU then has to find the page in tables of the
/// kernel first, and on a virtual machine in those of its host, too (*measured*: 70 to 200 ns a packet, table of 32 MiB).
///
/// The host's setting (`/sys/kernel/mm/transparent_hugepage/enabled`) is obeyed: "never" is never.
///
/// The capacity is larger than `length`. To shrink it, as a boxed slice does, may copy the table into small pages.
pub fn large_table<T: Default>(length: usize) -> Vec<T> {
    let mut table = Vec::with_capacity(capacity(length, size_of::<T>()));
    let place = table.spare_capacity_mut();
    if let Some(place) = place.get(..length)
        && size_of_val(place) >= HUGE_PAGE
    {
        prefer_huge_pages(place.as_ptr_range());
    }
    // Only now is the memory touched for the first time, so the kernel takes huge pages at once.
    table.resize_with(length, T::default);
    table
}

/// Returns the number of values to ask the allocator for.
///
/// With it, the allocator asks the kernel for whole huge pages, and then they are aligned (since Linux 6.7). What is beyond
/// `length` is never touched, so it takes no memory; on a host with huge pages "always" the rest of the last one.
const fn capacity(length: usize, size: usize) -> usize {
    let bytes = length.saturating_mul(size);
    if bytes < HUGE_PAGE {
        return length;
    }
    let whole = bytes
        .saturating_add(BESIDE)
        .div_ceil(HUGE_PAGE)
        .saturating_mul(HUGE_PAGE);
    (whole - BESIDE) / size
}

/// Tells the kernel that huge pages are wanted for all pages that `memory` touches.
fn prefer_huge_pages<T>(memory: Range<*const T>) {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    let Some(page) = page.ok().flatten().and_then(|page| usize::try_from(page).ok()) else {
        return;
    };
    let start = memory.start.map_addr(|address| address / page * page).cast_mut();
    let length = memory.end.addr() - start.addr();
    // SAFETY: this advice changes no content and no access, wherever it points; with wrong addresses it fails.
    let _without_them_it_is_slower = unsafe { libc::madvise(start.cast(), length, libc::MADV_HUGEPAGE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The flags of the mapping with `address`, as the kernel lists them.
    fn flags(address: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut is_of_address = false;
        for line in maps.lines() {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            if let Some((start, end)) = range
                && let (Ok(start), Ok(end)) =
                    (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16))
            {
                is_of_address = (start..end).contains(&address);
            }
            if is_of_address && let Some(flags) = line.strip_prefix("VmFlags:") {
                return flags.to_owned();
            }
        }
        panic!("no mapping has {address:x}");
    }

    #[test]
    fn there_is_room_for_all_values() {
        for (length, size) in [
            (0, 8),
            (5, 8),
            (1 << 18, 8),
            ((1 << 18) + 1, 8),
            (1 << 20, 128),
            (77_777, 96),
        ] {
            let capacity = capacity(length, size);
            assert!(capacity >= length);
            assert!(capacity * size <= length * size + HUGE_PAGE + BESIDE);
        }
    }

    #[test]
    fn a_large_table_is_in_huge_pages_and_a_small_one_is_not() {
        let (large, small) = (large_table::<u64>(1 << 20), large_table::<u64>(1 << 15));
        assert_eq!(large, vec![0; 1 << 20]);
        assert_eq!(small.len(), 1 << 15);
        for place in [0, (1 << 19) + 5, (1 << 20) - 1] {
            let flags = flags((&raw const large[place]).addr());
            assert!(flags.split_whitespace().any(|flag| flag == "hg"), "{flags}");
        }
        let flags = flags((&raw const small[9]).addr());
        assert!(!flags.split_whitespace().any(|flag| flag == "hg"), "{flags}");
    }
}
