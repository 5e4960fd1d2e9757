//! The catalogue: what is in the binary, and what of a user comes before it.

use super::*;

#[test]
fn every_file_on_disk_is_in_the_binary() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/providers");
    let mut on_disk: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    on_disk.sort();
    assert_eq!(names().collect::<Vec<_>>(), on_disk);
}
