//! A test in a process of its own.

use std::process::Command;

/// Runs a test, by its full name, in a process of its own, whose environment is `setting`'s: no other test changes it, and none
/// raises its peak of memory.
pub fn alone(name: &str, setting: impl FnOnce(&mut Command), test: impl FnOnce()) {
    if std::env::var("TEST_ALONE").is_ok_and(|alone| alone == name) {
        return test();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([name, "--exact", "--nocapture"]).env("TEST_ALONE", name);
    setting(&mut child);
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "no test has the name {name}\n{said}");
}
