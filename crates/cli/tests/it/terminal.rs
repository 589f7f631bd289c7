//! What is left on a terminal: spinners come and go, lines stay.

use wharf_testkit::Sandbox;

use crate::sandbox;

/// The characters that the spinner turns through.
fn is_frame(character: char) -> bool {
    ('\u{2800}'..='\u{28ff}').contains(&character)
}

/// Runs `wharf ARGUMENTS` on a terminal; what was written to it.
fn on_a_terminal(sandbox: &Sandbox, arguments: &str) -> String {
    let command = format!("'{}' {arguments}", sandbox.binary().display());
    // `script` is part of every Debian; it ends with the command's code.
    sandbox
        .program("script", ["-qec", &command, "/dev/null"])
        .env("TERM", "xterm")
        .output()
        .stdout
}

/// A screen as high as it must be, on which no line wraps.
#[derive(Default)]
struct Screen {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Screen {
    fn after(written: &str) -> Vec<String> {
        let mut screen = Screen::default();
        let mut rest = written.chars();
        while let Some(character) = rest.next() {
            match character {
                '\r' => screen.column = 0,
                '\n' => screen.row += 1,
                '\x1b' => {
                    assert_eq!(rest.next(), Some('['), "a sequence of another kind");
                    let text = rest.as_str();
                    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                    screen.obey(&text[..=end]);
                    rest = text[end + 1..].chars();
                }
                character => screen.put(character),
            }
        }
        let text = |line: Vec<char>| String::from_iter(line).trim_end().to_owned();
        screen.lines.into_iter().map(text).collect()
    }

    fn obey(&mut self, sequence: &str) {
        let (count, kind) = sequence.split_at(sequence.len() - 1);
        let count = || count.parse::<usize>().unwrap();
        match kind {
            "m" => {}
            "A" => self.row -= count(),
            "B" => self.row += count(),
            "K" => {
                assert_eq!(count(), 2);
                if let Some(line) = self.lines.get_mut(self.row) {
                    line.clear();
                }
            }
            _ => panic!("`{sequence}` is not known here"),
        }
    }

    fn put(&mut self, character: char) {
        if self.lines.len() <= self.row {
            self.lines.resize(self.row + 1, Vec::new());
        }
        let line = &mut self.lines[self.row];
        if line.len() <= self.column {
            line.resize(self.column + 1, ' ');
        }
        line[self.column] = character;
        self.column += 1;
    }
}

#[test]
fn nothing_of_the_spinner_stays_between_the_lines_of_a_build() {
    let sandbox = sandbox();
    sandbox.put(
        "Cargo.toml",
        "[package]\nname = \"it-on-a-terminal\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    );
    sandbox.put(
        "wharf.toml",
        "manifest = 1\nname = \"tried\"\nversion = \"0.1.0\"\n\
         [component.main]\nsource = \".\"\n[trigger.command]\ncomponent = \"main\"\n",
    );
    sandbox.put(
        "src/main.rs",
        "fn main() {\n    let unused = 1;\n    oops();\n}\n",
    );
    let written = on_a_terminal(&sandbox, "build --verbose");
    assert!(written.contains(is_frame), "no spinner turned: {written:?}");
    let screen = Screen::after(&written);
    let told = screen.join("\n");
    assert!(!told.contains(is_frame), "{told}");
    for line in [
        "error[E0425]: cannot find function `oops` in this scope",
        "error: component `main` did not compile",
    ] {
        assert!(screen.iter().any(|found| found == line), "{line}: {told}");
    }

    sandbox.put("src/main.rs", "fn main() {}\n");
    let screen = Screen::after(&on_a_terminal(&sandbox, "build")).join("\n");
    assert!(!screen.contains(is_frame), "{screen}");
    assert!(screen.contains("\nmain: component, command"), "{screen}");
}
