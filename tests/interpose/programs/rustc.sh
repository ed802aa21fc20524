# rustc: a program compiled (threads, LLVM, a linker child) and run; its own allocator is malloc.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: rustc
# seconds: 90
cat > t.rs <<'END'
use std::{collections::*, thread};
fn main() {
    let hs: Vec<_> = (0..4).map(|k| thread::spawn(move || { let mut m = HashMap::new(); for i in 0..100000u64 { m.entry(format!("k{}", i * k % 5003)).or_insert_with(Vec::new).push(i); } m.len() })).collect();
    println!("{:?}", hs.into_iter().map(|h| h.join().unwrap()).collect::<Vec<_>>());
    let mut b = BTreeMap::new(); for i in 0..200000u64 { b.insert(i * 7919 % 100003, vec![0u8; (i % 100) as usize]); } println!("{}", b.values().map(Vec::len).sum::<usize>());
}
END
rustc -O t.rs -o t && ./t
