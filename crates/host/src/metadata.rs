//! Addresses at which cloud machines hand out credentials.

use std::net::IpAddr;

/// Whether an address serves credentials of a cloud machine: never reached by a name, only by
/// a grant of the very address.
pub(crate) fn is_metadata(address: IpAddr) -> bool {
    match address.to_canonical() {
        // The last two are Alibaba's and Azure's; all others use the link-local range.
        IpAddr::V4(v4) => {
            v4.is_link_local() || [[100, 100, 100, 200], [168, 63, 129, 16]].contains(&v4.octets())
        }
        IpAddr::V6(v6) => {
            let start = [v6.segments()[0], v6.segments()[1]];
            v6.is_unicast_link_local() || [[0xfd00, 0x0ec2], [0xfd20, 0x00ce]].contains(&start)
        }
    }
}
