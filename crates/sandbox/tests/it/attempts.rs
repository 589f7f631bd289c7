//! What a confined process tries. Raw system calls where the standard library would be polite.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;

/// What was made before the process was confined.
pub(crate) struct Before {
    parent: libc::pid_t,
    /// An open file that nobody handed over.
    inherited: i32,
    /// A listener of somebody on this machine.
    port: u16,
    folder: std::path::PathBuf,
}

impl Before {
    pub(crate) fn new() -> Before {
        let file = File::open("/etc/hostname")
            .or_else(|_| File::open("/etc/passwd"))
            .unwrap();
        let inherited = file.as_raw_fd();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // They are closed by being confined, not by their owners.
        std::mem::forget((file, listener));
        Before {
            // SAFETY: takes nothing, touches nothing.
            parent: unsafe { libc::getppid() },
            inherited,
            port,
            folder: std::env::temp_dir(),
        }
    }
}

pub(crate) type Attempt = fn(&Before) -> io::Result<()>;

pub(crate) const ALL: &[(&str, Attempt)] = &[
    ("read a file", |_| fs::read("/etc/passwd").map(drop)),
    ("read its own memory map", |_| {
        fs::read("/proc/self/maps").map(drop)
    }),
    ("list a folder", |_| fs::read_dir("/").map(drop)),
    ("write a file", |before| {
        fs::write(before.folder.join("wharf-sandbox-escape"), "x")
    }),
    ("append to a device", |_| {
        OpenOptions::new().write(true).open("/dev/null").map(drop)
    }),
    ("rename", |before| {
        fs::rename(before.folder.join("a"), before.folder.join("b"))
    }),
    ("read what was inherited", |before| {
        let mut byte = 0_u8;
        // SAFETY: one byte of ours, whatever the descriptor is.
        let read = unsafe { libc::read(before.inherited, (&raw mut byte).cast(), 1) };
        result(read as i64)
    }),
    ("connect", |before| {
        TcpStream::connect(("127.0.0.1", before.port)).map(drop)
    }),
    ("listen", |_| TcpListener::bind("127.0.0.1:0").map(drop)),
    ("send a datagram", |_| {
        UdpSocket::bind("127.0.0.1:0").map(drop)
    }),
    ("pair sockets", |_| UnixStream::pair().map(drop)),
    ("start a program", |_| {
        Command::new("/bin/true").status().map(drop)
    }),
    ("become a program", |_| {
        let path = c"/bin/true";
        let arguments = [path.as_ptr(), std::ptr::null()];
        // SAFETY: both are terminated, and live until the call returns or replaces the process.
        result(unsafe { libc::execv(path.as_ptr(), arguments.as_ptr()) }.into())
    }),
    ("fork", |_| {
        // SAFETY: the child, were there one, only ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) };
        }
        result(child.into())
    }),
    ("signal its parent", |before| {
        // SAFETY: no memory; signal 0 would only ask whether it may.
        result(unsafe { libc::kill(before.parent, 0) }.into())
    }),
    ("trace its parent", |before| {
        // SAFETY: attaching takes no addresses.
        result(unsafe {
            libc::ptrace(
                libc::PTRACE_SEIZE,
                before.parent,
                std::ptr::null_mut::<libc::c_void>(),
                std::ptr::null_mut::<libc::c_void>(),
            )
        })
    }),
    ("read its parent's memory", |before| {
        // SAFETY: no vectors are given.
        let read = unsafe {
            libc::process_vm_readv(before.parent, std::ptr::null(), 0, std::ptr::null(), 0, 0)
        };
        result(read as i64)
    }),
    ("make a namespace", |_| {
        // SAFETY: flags only.
        result(unsafe { libc::unshare(libc::CLONE_NEWUSER) }.into())
    }),
    ("map memory as code", |_| {
        // SAFETY: a new mapping wherever the kernel likes; it is never used.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_EXEC,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        result(if address == libc::MAP_FAILED { -1 } else { 0 })
    }),
    ("raise its own limit", |_| {
        let more = libc::rlimit {
            rlim_cur: libc::RLIM_INFINITY,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: a whole `rlimit` that outlives the call.
        result(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const more) }.into())
    }),
    ("do so on a thread of its own", |_| {
        thread::spawn(|| fs::read("/etc/passwd").map(drop))
            .join()
            .unwrap()
    }),
    ("use more memory than it may", |_| {
        let mut bytes: Vec<u8> = Vec::new();
        bytes
            .try_reserve_exact(8 << 30)
            .map_err(|error| io::Error::other(error.to_string()))
    }),
    ("may start threads", |_| {
        let threads: Vec<_> = (0..4).map(|n| thread::spawn(move || n)).collect();
        let sum: i32 = threads.into_iter().map(|one| one.join().unwrap()).sum();
        if sum == 6 {
            Ok(())
        } else {
            Err(io::Error::other("lost one"))
        }
    }),
    ("may use memory", |_| {
        let mut bytes = vec![1_u8; 64 << 20];
        bytes.resize(128 << 20, 2);
        bytes.shrink_to(1 << 20);
        Ok(())
    }),
    ("may write to what it was given", |_| {
        let mut out = io::stdout().lock();
        out.write_all(b"native code\n")?;
        out.flush()
    }),
    ("may name a thread", |_| {
        let named = thread::Builder::new().name("compiling".to_owned());
        named.spawn(|| ())?.join().unwrap();
        Ok(())
    }),
    ("panic", |_| panic!("a compiler's bug")),
];

fn result(returned: i64) -> io::Result<()> {
    match returned {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
