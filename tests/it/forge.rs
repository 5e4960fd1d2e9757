//! What was not verified cannot be stored: the compiler says so.

#[test]
fn proofs_cannot_be_forged() {
    trybuild::TestCases::new().compile_fail("tests/it/forge/*.rs");
}
