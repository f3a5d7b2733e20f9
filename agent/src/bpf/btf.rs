//! The running kernel's type information: where a member of a structure lies, what an enumeration names.
//!
//! The format is Documentation/bpf/btf.rst: a header, types one after the other, numbered from 1, and strings.
//! Only what is asked for is read; anything that does not fit the format is an error, not a panic.

use std::collections::HashMap;
use std::path::Path;
use std::{fs, io};

/// Where the kernel offers it.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
/// Structures within structures that are followed.
const MAX_DEPTH: u8 = 8;

mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// Type information, and where each type begins in it.
pub(super) struct Btf {
    bytes: Vec<u8>,
    /// Where strings begin.
    strings: usize,
    /// By number; the first is that of `void`.
    types: Vec<usize>,
}

/// One type.
struct Type<'a> {
    btf: &'a Btf,
    at: usize,
}

impl Btf {
    /// Reads it from a file.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        Self::parse(fs::read(path)?).ok_or_else(|| {
            let text = format!("{} is not as documented", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let mut btf = Self { bytes, strings: 0, types: vec![0] };
        if btf.u16(0)? != MAGIC {
            return None;
        }
        let header = btf.size(4)?;
        let [begin, length] = [btf.size(8)?, btf.size(12)?];
        btf.strings = header.checked_add(btf.size(16)?)?;
        let mut at = header.checked_add(begin)?;
        let end = at.checked_add(length)?;
        while at < end {
            btf.types.push(at);
            at = at.checked_add(12 + Type { btf: &btf, at }.more()?)?;
        }
        Some(btf)
    }

    /// Byte offset of a member, named by its path from a structure: `sock.__sk_common.skc_net.net`. Members of
    /// nameless structures are members of what holds these.
    pub(super) fn offset(&self, path: &str) -> Option<u32> {
        let mut names = path.split('.');
        let structure = names.next()?;
        let mut current = self.all().find(|t| t.kind() == Some(kind::STRUCT) && t.is(structure))?;
        let mut offset = 0;
        for name in names {
            let (bits, of) = current.member(name, 0)?;
            offset += bits;
            current = self.resolve(of)?;
        }
        (offset % 8 == 0).then_some(offset / 8)
    }

    /// What an enumeration names, by number.
    pub(super) fn names(&self, enumeration: &str) -> Option<HashMap<u32, String>> {
        let is_it = |t: &Type<'_>| t.kind() == Some(kind::ENUM) && t.is(enumeration);
        let found = self.all().find(is_it)?;
        (0..found.count()?)
            .map(|n| {
                let at = found.at + 12 + 8 * n;
                Some((self.u32(at + 4)?, self.string(self.size(at)?)?.to_owned()))
            })
            .collect()
    }

    fn all(&self) -> impl Iterator<Item = Type<'_>> {
        self.types.iter().skip(1).map(|&at| Type { btf: self, at })
    }

    /// A type without its qualifiers and other names.
    fn resolve(&self, mut number: usize) -> Option<Type<'_>> {
        for _ in 0..32 {
            let found = Type { btf: self, at: *self.types.get(number).filter(|_| number > 0)? };
            match found.kind()? {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    number = self.size(found.at + 8)?
                }
                _ => return Some(found),
            }
        }
        None
    }

    fn u16(&self, at: usize) -> Option<u16> {
        Some(u16::from_ne_bytes(self.bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
    }

    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
    }

    fn size(&self, at: usize) -> Option<usize> {
        usize::try_from(self.u32(at)?).ok()
    }

    fn string(&self, at: usize) -> Option<&str> {
        let text = self.bytes.get(self.strings.checked_add(at)?..)?;
        std::str::from_utf8(text.split(|byte| *byte == 0).next()?).ok()
    }
}

impl Type<'_> {
    fn kind(&self) -> Option<u32> {
        Some((self.btf.u32(self.at + 4)? >> 24) & 0x1f)
    }

    /// Members, values or parameters.
    fn count(&self) -> Option<usize> {
        usize::try_from(self.btf.u32(self.at + 4)? & 0xffff).ok()
    }

    fn is(&self, name: &str) -> bool {
        self.btf.size(self.at).and_then(|at| self.btf.string(at)) == Some(name)
    }

    /// Bytes after the first twelve.
    fn more(&self) -> Option<usize> {
        let count = self.count()?;
        Some(match self.kind()? {
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * count,
            kind::ENUM | kind::FUNC_PROTO => 8 * count,
            _ => 0,
        })
    }

    /// Where a member is, in bits, and the number of its type.
    fn member(&self, name: &str, depth: u8) -> Option<(u32, usize)> {
        if depth > MAX_DEPTH || !matches!(self.kind()?, kind::STRUCT | kind::UNION | kind::PTR) {
            return None;
        }
        // With the flag, eight bits of the offset are a bit field's width.
        let has_widths = self.btf.u32(self.at + 4)? >> 31 == 1;
        for n in 0..self.count()? {
            let at = self.at + 12 + 12 * n;
            let (called, of) = (self.btf.size(at)?, self.btf.size(at + 4)?);
            let offset = self.btf.u32(at + 8)?;
            let offset = if has_widths { offset & 0x00ff_ffff } else { offset };
            let called = self.btf.string(called)?;
            if called == name {
                return Some((offset, of));
            }
            if called.is_empty()
                && let Some((within, of)) = self.btf.resolve(of)?.member(name, depth + 1)
            {
                return Some((offset + within, of));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { u32 first; struct { u32 skipped; u32 second; }; struct inner third; }`,
    /// `struct inner { u32 skipped; u32 fourth; }`, `enum reasons { NONE = 0, LOST = 7 }`.
    fn example() -> Vec<u8> {
        let names = ["", "u32", "inner", "skipped", "fourth", "second", "outer", "first", "third"];
        let names = names.iter().chain(&["reasons", "NONE", "LOST", "alias"]);
        let mut strings = Vec::new();
        let mut at = HashMap::new();
        for name in names {
            at.insert(*name, u32::try_from(strings.len()).unwrap());
            strings.extend_from_slice(name.as_bytes());
            strings.push(0);
        }
        let of = |kind: u32, count: u32| kind << 24 | count;
        let types = [
            vec![at["u32"], of(kind::INT, 0), 4, 32],
            vec![at["inner"], of(kind::STRUCT, 2), 8, at["skipped"], 1, 0, at["fourth"], 1, 32],
            vec![0, of(kind::STRUCT, 2), 8, at["skipped"], 1, 0, at["second"], 1, 32],
            [
                vec![at["outer"], of(kind::STRUCT, 3), 20, at["first"], 1, 0],
                vec![0, 3, 32, at["third"], 6, 96],
            ]
            .concat(),
            vec![at["reasons"], of(kind::ENUM, 2), 4, at["NONE"], 0, at["LOST"], 7],
            vec![at["alias"], of(kind::TYPEDEF, 0), 2],
        ]
        .concat();
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        let length = u32::try_from(4 * types.len()).unwrap();
        let strings_length = u32::try_from(strings.len()).unwrap();
        for word in [24, 0, length, length, strings_length].into_iter().chain(types) {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn members_are_found_through_nameless_and_named_structures() {
        let btf = Btf::parse(example()).unwrap();
        let offset = |path| btf.offset(path);
        assert_eq!(offset("outer.first"), Some(0));
        assert_eq!(offset("outer.second"), Some(8));
        assert_eq!(offset("outer.third.fourth"), Some(16));
        assert_eq!(offset("outer.fourth"), None);
        assert_eq!(offset("nowhere.first"), None);
        let names = btf.names("reasons").unwrap();
        assert_eq!(names, HashMap::from([(0, "NONE".into()), (7, "LOST".into())]));
    }

    #[test]
    fn what_is_cut_or_made_up_is_refused() {
        let whole = example();
        for length in 0..whole.len() {
            // Not all of it is needed to know a type; none of it may be read beyond its end.
            if let Some(btf) = Btf::parse(whole[..length].to_vec()) {
                let _ = (btf.offset("outer.third.fourth"), btf.names("reasons"));
            }
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            if let Some(btf) = Btf::parse(damaged) {
                let _ = (btf.offset("outer.third.fourth"), btf.names("reasons"));
            }
        }
    }

    #[test]
    fn the_running_kernel_names_its_drop_reasons() {
        let required = std::env::var_os("WEIR_REQUIRE_KERNEL").is_some();
        let btf = Btf::read(Path::new(VMLINUX)).ok();
        let Some((btf, names)) = btf.and_then(|b| b.names("skb_drop_reason").map(|n| (b, n)))
        else {
            assert!(!required, "this kernel has no drop reasons in {VMLINUX}");
            return;
        };
        assert!(names.values().any(|name| name == "SKB_DROP_REASON_NO_SOCKET"), "{names:?}");
        assert!(btf.offset("sk_buff.network_header").is_some_and(|at| at > 0));
    }
}
