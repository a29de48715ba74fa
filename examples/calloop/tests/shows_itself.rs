//! The program, run to its end.

use std::process::Command;

#[test]
fn a_guest_has_its_turns_in_calloop() {
    let output = Command::new(env!("CARGO_BIN_EXE_calloop_guest"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "the guest heard: round and round\nthe host ticked, too\n"
    );
}
