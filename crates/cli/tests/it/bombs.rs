//! Small files that are large to compile: each costs one error.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use wharf_testkit::{Output, Sandbox};

use crate::sandbox;

const NOT_RUNNABLE: i32 = 126;
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// An unsigned number in LEB128.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn sized(bytes: Vec<u8>) -> Vec<u8> {
    [leb(bytes.len()), bytes].concat()
}

fn section(id: u8, bytes: Vec<u8>) -> Vec<u8> {
    [vec![id], sized(bytes)].concat()
}

/// The same item that many times, after their number.
fn many(count: usize, item: &[u8]) -> Vec<u8> {
    [leb(count), item.repeat(count)].concat()
}

/// A module of `count` functions of the one type that all have this body, the first of which is
/// its `_start`.
fn functions(count: usize, ty: &[u8], body: &[u8]) -> Vec<u8> {
    let body = sized([body, &[0x0b]].concat());
    [
        MODULE.to_vec(),
        section(1, many(1, ty)),
        section(3, many(count, &[0])),
        section(7, [&[1, 6][..], b"_start", &[0, 0]].concat()),
        section(10, many(count, &body)),
    ]
    .concat()
}

const NOTHING: &[u8] = &[0x60, 0, 0];

/// A component that instantiates a component that instantiates …: `fan` to the power of `depth`
/// instances of a module in the end.
fn instances(fan: usize, depth: usize) -> Vec<u8> {
    let mut inner = [
        COMPONENT.to_vec(),
        section(1, MODULE.to_vec()),
        section(2, many(1, &[0, 0, 0])),
    ]
    .concat();
    for _ in 0..depth {
        inner = [
            COMPONENT.to_vec(),
            section(4, inner),
            section(5, many(fan, &[0, 0, 0])),
        ]
        .concat();
    }
    inner
}

/// Three thousand blocks with a thousand parameters and results each: 14 KB.
fn wide() -> Vec<u8> {
    let ty = [&[0x60][..], &many(1000, &[0x7e]), &many(1000, &[0x7e])].concat();
    let parameters: Vec<u8> = (0..1000)
        .flat_map(|n| [vec![0x20], leb(n)].concat())
        .collect();
    let blocks = [[2, 0].repeat(3000), vec![0x0b; 3000]].concat();
    let body = [vec![0], parameters, blocks].concat();
    functions(1, &ty, &body)
}

/// Runs `bytes` with little time and little memory to compile them in.
#[track_caller]
fn fails(sandbox: &Sandbox, name: &str, bytes: &[u8], said: &str) -> Output {
    sandbox.put(name, bytes);
    let output = sandbox
        .command(["run", name])
        .env("WHARF_COMPILE_TIME", "3s")
        .through(["sh", "-c", "ulimit -v 1500000; exec \"$@\"", "sh"])
        .output()
        .expect_code(NOT_RUNNABLE);
    assert!(output.stderr.contains(said), "{name}: {}", output.stderr);
    assert!(!output.stderr.contains("panicked"), "{name}: {output:?}");
    output
}

#[test]
fn a_bomb_costs_one_error() {
    let sandbox = sandbox();
    let check = |name: &str, bytes: Vec<u8>, said: &str| {
        fails(&sandbox, name, &bytes, said);
    };
    // 50,000 locals in each of 20,000 functions: 160 KB.
    let locals = [&[1][..], &leb(50_000), &[0x7e]].concat();
    let locals = functions(20_000, NOTHING, &locals);
    check("locals.wasm", locals, "CPU time");
    check("wide.wasm", wide(), "compil");
    // A jump table of a million places: 1 MB.
    let table = [
        &[0, 2, 0x40, 0x41, 0, 0x0e][..],
        &many(1_000_000, &[0]),
        &[0, 0x0b],
    ]
    .concat();
    check("table.wasm", functions(1, NOTHING, &table), "targets");
    // A million nested blocks.
    let deep = [vec![0], [2, 0x40].repeat(1_000_000), vec![0x0b; 1_000_000]].concat();
    check("deep.wasm", functions(1, NOTHING, &deep), "CPU time");
    // Instances of instances: 2 to the power of 60, out of one kilobyte.
    check("instances.wasm", instances(2, 60), "compil");
    check("modules.wasm", instances(8, 6), "it multiplies");
    // What holds no limit of the format's.
    let chains = [COMPONENT.to_vec(), section(1, MODULE.to_vec()).repeat(2000)].concat();
    check("chains.wasm", chains, "exceeds limit of 1000");
    let doubling: Vec<u8> = (0..40).flat_map(|n| [0x6f, 2, n, n]).collect();
    let types = [&[41][..], &[0x6f, 2, 0x79, 0x79], &doubling].concat();
    check(
        "types.wasm",
        [COMPONENT.to_vec(), section(7, types)].concat(),
        "type size exceeds the limit",
    );
    // Whoever comes next is served.
    sandbox.put("good.wat", "(module (func (export \"_start\")))");
    sandbox.wharf(["run", "good.wat"]).expect_success();
}

/// The same without a word of ours: the limits of a node, and what the machine has.
#[test]
fn the_limits_that_nobody_sets_end_a_bomb_too() {
    let sandbox = sandbox();
    let check = |name: &str, bytes: Vec<u8>, said: &str| {
        sandbox.put(name, bytes);
        let command = sandbox.command(["run", name]);
        let output = command.output().expect_code(NOT_RUNNABLE);
        assert!(output.stderr.contains(said), "{name}: {}", output.stderr);
        assert!(!output.stderr.contains("panicked"), "{name}: {output:?}");
    };
    check("instances.wasm", instances(2, 60), "compil");
    check("modules.wasm", instances(8, 6), "it multiplies");
    // Of little code: twenty seconds at most, or what the machine has of memory.
    check("wide.wasm", wide(), "compil");
}

#[test]
fn a_memory_that_is_nearly_empty_takes_no_disk() {
    let sandbox = sandbox();
    // Two bytes 128 MiB apart, in each of nine memories: an image each, were they kept.
    let data = |offset: &[u8]| [&[0, 0x41][..], offset, &[0x0b, 1, b'x']].concat();
    let far = [vec![2], data(&[0]), data(&[0xf0, 0xff, 0xff, 0x3f])].concat();
    let module = [
        MODULE.to_vec(),
        section(5, [&[1, 0][..], &leb(2048)].concat()),
        section(11, far),
    ]
    .concat();
    let component = [COMPONENT.to_vec(), section(1, module).repeat(9)].concat();
    sandbox.put("sparse.wasm", component);
    let _ = sandbox.wharf(["run", "sparse.wasm"]);
    let native = |folder: &std::path::Path| -> u64 {
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        files.map(|file| file.metadata().unwrap().len()).sum()
    };
    let kept: u64 = fs::read_dir(sandbox.cache().join("code"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|engine| native(&engine.path()))
        .sum();
    assert!(kept < 300 << 20, "{kept} bytes of native code");
}

#[cfg(target_os = "linux")]
#[test]
fn the_compiler_process_is_confined() {
    let sandbox = sandbox();
    let body = [vec![0], [2, 0x40, 0x0b].repeat(100_000)].concat();
    sandbox.put("slow.wasm", functions(1, NOTHING, &body));
    let binary = sandbox.binary().to_str().unwrap().to_owned();
    thread::scope(|scope| {
        let run = scope.spawn(|| {
            sandbox
                .command(["run", "slow.wasm"])
                .env("WHARF_COMPILE_TIME", "6s")
                .output()
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut seen = Vec::new();
        let confined = loop {
            let found = compilers(&binary, "slow.wasm");
            // It may have become so while it was being read: the next look is whole.
            if found.iter().any(is_confined)
                && let Some(whole) = compilers(&binary, "slow.wasm")
                    .into_iter()
                    .find(is_confined)
            {
                break Some(whole);
            }
            seen.extend(found);
            if Instant::now() > deadline || run.is_finished() {
                break None;
            }
            thread::yield_now();
        };
        let confined = confined.unwrap_or_else(|| panic!("{:?}", seen.last()));
        // What Landlock closes the kernel does not tell: crates/sandbox tries it.
        assert_eq!(confined.oom_score_adj.trim(), "1000");
        let own = Seen::of(std::path::Path::new("/proc/self")).unwrap().nice;
        assert_eq!(confined.nice, (own + 10).min(19));
        // Six seconds, and some between the signal that can be caught and the other.
        assert_eq!(confined.limit("Max cpu time"), "11");
        assert_eq!(confined.limit("Max core file size"), "0");
        assert_eq!(confined.limit("Max open files"), "16");
        let space: u64 = confined.limit("Max address space").parse().unwrap();
        assert!((1 << 30..=6 << 30).contains(&space), "{space}");
        assert_ne!(confined.limit("Max file size"), "unlimited");
        run.join().unwrap();
    });
}

/// What the kernel says of a process.
#[cfg(target_os = "linux")]
#[derive(Debug, Clone)]
struct Seen {
    status: String,
    limits: String,
    oom_score_adj: String,
    nice: i32,
}

/// The compiler processes that this test's binary started for `what`.
#[cfg(target_os = "linux")]
fn compilers(binary: &str, what: &str) -> Vec<Seen> {
    let wanted = format!("{binary}\0__compile\0");
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            fs::read_to_string(entry.path().join("cmdline"))
                .is_ok_and(|line| line.starts_with(&wanted))
        })
        .filter_map(|entry| Seen::of(&entry.path()))
        .filter(|seen| seen.is_for(what))
        .collect()
}

#[cfg(target_os = "linux")]
fn is_confined(seen: &Seen) -> bool {
    let has = |line: &str| seen.status.lines().any(|found| found == line);
    // The filter is the last that it takes on: the rest is there when this is.
    has("Seccomp:\t2") && has("NoNewPrivs:\t1")
}

#[cfg(target_os = "linux")]
impl Seen {
    fn of(process: &std::path::Path) -> Option<Seen> {
        let read = |name| fs::read_to_string(process.join(name)).ok();
        let stat = read("stat")?;
        Some(Seen {
            // Behind the name, in parentheses, which may hold anything.
            nice: (stat.rsplit(')').next()?.split_whitespace())
                .nth(16)?
                .parse()
                .ok()?,
            // Last: what it says holds for what was read before, or more.
            oom_score_adj: read("oom_score_adj")?,
            limits: read("limits")?,
            status: read("status")?,
        })
    }

    /// Whether its parent was started with that argument.
    fn is_for(&self, what: &str) -> bool {
        let line = (self.status.lines()).find_map(|line| line.strip_prefix("PPid:"));
        let parent = format!("/proc/{}/cmdline", line.unwrap().trim());
        let words = fs::read_to_string(parent).unwrap_or_default();
        words.split('\0').any(|word| word == what)
    }

    /// The hard limit of a line of `limits`.
    fn limit(&self, name: &str) -> &str {
        let line = self.limits.lines().find(|line| line.starts_with(name));
        let mut columns = line.unwrap()[name.len()..].split_whitespace();
        columns.nth(1).unwrap()
    }
}
