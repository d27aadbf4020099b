//! The hash slots of a cluster: which one a key lies in, and a name that lies in the same one.
//! After <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/> (November 2026).

use std::sync::OnceLock;

/// How many there are.
pub(super) const SLOTS: usize = 16384;

/// CRC-16/XMODEM, a byte at a time.
const CRC: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// The slot of a key: that of its hash tag, where it has one.
pub(super) fn slot(key: &[u8]) -> u16 {
    let hashed = tag(key).unwrap_or(key);
    let crc = hashed.iter().fold(0_u16, |crc, byte| (crc << 8) ^ CRC[usize::from((crc >> 8) as u8 ^ byte)]);
    crc % SLOTS as u16
}

/// What stands between the first `{` and the first `}` after it, if anything does.
pub(super) fn tag(key: &[u8]) -> Option<&[u8]> {
    let after = &key[key.iter().position(|byte| *byte == b'{')? + 1..];
    let tag = &after[..after.iter().position(|byte| *byte == b'}')?];
    (!tag.is_empty()).then_some(tag)
}

/// A number that, as a hash tag, lies in the slot of `key`. The key itself will not do: it may have braces of its own.
pub(super) fn number_beside(key: &[u8]) -> u32 {
    static NUMBERS: OnceLock<Vec<u32>> = OnceLock::new();
    let numbers = NUMBERS.get_or_init(|| {
        let mut numbers = vec![None; SLOTS];
        let mut missing = SLOTS;
        let mut number = 0_u32;
        // Every slot has one below 300,000.
        while missing > 0 {
            let place = &mut numbers[usize::from(slot(number.to_string().as_bytes()))];
            if place.is_none() {
                *place = Some(number);
                missing -= 1;
            }
            number += 1;
        }
        numbers.into_iter().flatten().collect()
    });
    numbers[usize::from(slot(key))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // As `CLUSTER KEYSLOT` answers (redis-server 7.0.15).
        for (key, expected) in [("123456789", 12739), ("foo", 12182), ("", 0), ("lently:video:abc", 6368)] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
        assert_eq!(slot(b"a{foo}b"), slot(b"foo"));
        assert_eq!(slot(b"a{foo}{bar}"), slot(b"foo"));
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_ne!(slot(b"foo{}{bar}"), slot(b"bar"), "an empty tag is none");
    }

    #[test]
    fn the_number_lies_beside_whatever_braces_the_key_has() {
        for key in ["plain", "a}b", "{", "}", "{}", "x{y}z", "x{y", "{}{y}", "}{", ""] {
            let name = format!("p:~lease:{{{}}}{key}", number_beside(key.as_bytes()));
            assert_eq!(slot(name.as_bytes()), slot(key.as_bytes()), "{key}");
        }
    }
}
