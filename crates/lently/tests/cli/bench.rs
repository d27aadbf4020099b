//! `lently bench`, as far as it can be told without measuring.

use crate::Machine;

#[test]
fn without_a_redis_server_the_bench_of_the_cache_says_what_to_install() {
    let machine = Machine::new();
    let machine = {
        let home = machine.home.path().display().to_string();
        machine.with("PATH", home)
    };
    let ran = machine.run(&["bench", "cache"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.out.is_empty(), "{}", ran.out);
    assert!(ran.err.contains("`redis-server` is not on the path"), "{}", ran.err);
    assert!(ran.err.contains("apt-get install redis-server"), "{}", ran.err);
}
