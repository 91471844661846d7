//! Rebuilds when a file of the embedded web client comes or goes; changed files are tracked by the embedding itself.

fn main() {
    println!("cargo:rerun-if-changed=../web");
}
