//! What runs, told so that others can compare: hashes of the executable and of the web client in it.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{Context, Digest, SHA256};
use serde::Serialize;
use sotto_signaling::pages::{self, WebFile};

/// The running build.
#[derive(Clone, Serialize)]
pub struct Build {
    /// Of the file that was started; absent while it is still being read, or where it cannot be.
    executable_sha256: Option<String>,
    /// The commit that the builder named (`SOTTO_COMMIT` while compiling).
    commit: Option<&'static str>,
    /// Whether it can be told to show what passes through it, as no released binary can.
    test_probes: bool,
    web: Web,
}

/// The web client in the binary.
#[derive(Clone, Serialize)]
struct Web {
    /// Over the lines that `sha256sum` prints for all files, sorted by path.
    sha256: String,
    files: Vec<WebFile>,
}

#[cfg(test)]
impl Build {
    /// Of a build that is none.
    pub(super) fn sample() -> Self {
        let files = vec![WebFile { path: "index.html".to_owned(), sha256: "22".repeat(32) }];
        let web = Web { sha256: "33".repeat(32), files };
        Self { executable_sha256: Some("11".repeat(32)), commit: None, test_probes: false, web }
    }
}

/// The build's hashes, once they are there.
#[derive(Clone)]
pub struct Hashes {
    executable: Arc<OnceLock<Option<String>>>,
    web: Web,
}

impl Hashes {
    /// Reads the executable in a thread of its own: it is large, and nobody should wait for it.
    pub fn begin() -> Self {
        let executable = Arc::new(OnceLock::new());
        let told = Arc::clone(&executable);
        let read = move || drop(told.set(running_executable().ok()));
        // Without a thread for it the hash stays absent, which the page shows.
        let _ = std::thread::Builder::new().name("build-hash".to_owned()).spawn(read);
        let files = pages::files();
        let listing: String = files.iter().map(|file| format!("{}  {}\n", file.sha256, file.path)).collect();
        let mut context = Context::new(&SHA256);
        context.update(listing.as_bytes());
        Self { executable, web: Web { sha256: hex(context.finish()), files } }
    }

    /// What can be told now.
    pub fn now(&self) -> Build {
        Build {
            executable_sha256: self.executable.get().cloned().flatten(),
            commit: COMMIT,
            test_probes: cfg!(feature = "probe"),
            web: self.web.clone(),
        }
    }
}

/// Through `/proc`, which names the very file that runs, though another may have taken its path since.
fn running_executable() -> io::Result<String> {
    let mut file = File::open("/proc/self/exe")?;
    let (mut context, mut chunk) = (Context::new(&SHA256), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex(context.finish())),
            length => context.update(&chunk[..length]),
        }
    }
}

fn hex(digest: Digest) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Named by who builds, not asked of git: sources without their history must build as well.
const COMMIT: Option<&str> = option_env!("SOTTO_COMMIT");

/// Large enough that reading is not the slow part.
const CHUNK: usize = 256 * 1024;
