//! This test binary once more, as another process that plays a role.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{crashes, numbers, opening, processes, room};

/// Names the role to the child.
const ROLE: &str = "SEMEL_SQLITE_TEST_ROLE";
/// Names the file to the child.
const FILE: &str = "SEMEL_SQLITE_TEST_FILE";
/// Tells children of one role apart.
const NAME: &str = "SEMEL_SQLITE_TEST_NAME";
/// Comes before what a child tells, whatever the test harness prints before.
const MARK: &str = "child tells: ";

type Role = fn(&Path, &str);

/// What a child can be asked to do with a file, under a name.
const ROLES: [(&str, Role); 5] = [
    ("work until killed", crashes::work_until_killed),
    ("mint", numbers::mint),
    ("look", opening::look),
    ("settle", processes::settle),
    ("fill", room::fill),
];

/// Does nothing unless another test started this process.
#[test]
fn a_child_process_plays_its_role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (_, play) = ROLES.into_iter().find(|(name, _)| *name == role).unwrap();
    play(Path::new(&std::env::var_os(FILE).unwrap()), &std::env::var(NAME).unwrap());
}

/// The arguments with which the binary plays a role.
pub(crate) const ARGUMENTS: [&str; 3] =
    ["--exact", "child::a_child_process_plays_its_role", "--nocapture"];

/// The command that starts a child, with its output piped.
pub(crate) fn command(role: &str, file: &Path, name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(ARGUMENTS);
    prepare(&mut command, role, file, name);
    command
}

pub(crate) fn prepare(command: &mut Command, role: &str, file: &Path, name: &str) {
    command.env(ROLE, role).env(FILE, file).env(NAME, name);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
}

/// In a child: tells the parent something, at once.
pub(crate) fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{MARK}{line}").and_then(|()| out.flush()).unwrap();
}

/// In a child: waits until the parent lets it go on.
pub(crate) fn await_go() {
    tell("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// In the parent: lets all children go on once all are ready.
pub(crate) fn let_go(children: &mut [(Child, Lines)]) {
    for (_, lines) in &mut *children {
        assert_eq!(lines.next().as_deref(), Some("ready"));
    }
    for (child, _) in children {
        writeln!(child.stdin.as_mut().unwrap(), "go").unwrap();
    }
}

/// What a child tells, line by line, until it ends.
pub(crate) type Lines = Box<dyn Iterator<Item = String>>;

pub(crate) fn spawn(command: &mut Command) -> (Child, Lines) {
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let told = lines.filter_map(|line| line.split_once(MARK).map(|(_, told)| told.to_owned()));
    (child, Box::new(told))
}

/// Waits for a child that ends by itself.
#[track_caller]
pub(crate) fn finish((mut child, lines): (Child, Lines)) -> Vec<String> {
    let told = lines.collect();
    assert!(child.wait().unwrap().success());
    told
}

/// Runs a role to its end; what it told.
#[track_caller]
pub(crate) fn run(mut command: Command) -> Vec<String> {
    finish(spawn(&mut command))
}
