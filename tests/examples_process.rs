//! The programs that start others.

use rondel_tests::{example, run_to_end};

#[test]
fn a_pipeline_counts_what_is_fed_into_it() {
    let printed = run_to_end(&mut example("pipeline"));
    assert_eq!(
        printed.lines().collect::<Vec<_>>(),
        [
            "10000 a",
            "10000 boat",
            "10000 but",
            "10000 down",
            "10000 dream",
            "10000 gently",
            "10000 is",
            "10000 life",
            "40000 merrily",
            "30000 row",
            "10000 stream",
            "10000 the",
            "10000 your",
            "13 different words",
            "sort: exit status: 0, uniq: exit status: 0",
        ]
    );
}
