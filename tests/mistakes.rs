//! The mistakes that are made first, and what the compiler says to each: it should name the remedy.

#[test]
fn the_compiler_names_the_remedy() {
    trybuild::TestCases::new().compile_fail("mistakes/*.rs");
}
