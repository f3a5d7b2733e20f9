use super::*;

const A: &str = "/d/a";

fn write(disk: &SimulatedDisk, path: &str, text: &str) -> Box<dyn File> {
    let mut file = disk.open(Path::new(path), Mode::Create).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn read(machine: &Machine, path: &str) -> Option<String> {
    machine.peek(Path::new(path)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// What can be there after the power failed, over many seeds.
fn outcomes(work: impl Fn(&Machine, &SimulatedDisk)) -> Vec<Option<String>> {
    let mut seen: Vec<_> = (0..200)
        .map(|seed| {
            let machine = Machine::new(seed, 0);
            let disk = machine.start();
            disk.create_dir(Path::new("/d")).unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            work(&machine, &disk);
            machine.crash(Crash::Power);
            machine.start();
            read(&machine, A)
        })
        .collect();
    seen.sort_unstable();
    seen.dedup();
    seen
}

#[test]
fn nothing_is_durable_before_its_sync() {
    let unsynced = outcomes(|_, disk| drop(write(disk, A, "x")));
    let length_alone = || Some("\0".to_owned());
    assert_eq!(unsynced, [None, Some(String::new()), length_alone(), Some("x".into())]);
    let file_alone = outcomes(|_, disk| write(disk, A, "x").sync_all().unwrap());
    assert_eq!(file_alone, [None, Some("x".into())]);
    let folder_alone = outcomes(|_, disk| {
        write(disk, A, "x");
        disk.sync_dir(Path::new("/d")).unwrap();
    });
    assert_eq!(folder_alone, [Some(String::new()), length_alone(), Some("x".into())]);
    let both = outcomes(|_, disk| {
        write(disk, A, "x").sync_all().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
    });
    assert_eq!(both, [Some("x".into())]);
}

#[test]
fn a_folder_that_is_lost_takes_what_is_in_it() {
    let seen = outcomes(|_, disk| {
        disk.create_dir(Path::new("/d/e")).unwrap();
        write(disk, "/d/e/f", "x").sync_all().unwrap();
        disk.sync_dir(Path::new("/d/e")).unwrap();
        disk.hard_link(Path::new("/d/e/f"), Path::new(A)).unwrap();
    });
    assert_eq!(seen, [None, Some("x".into())]);
}

#[test]
fn a_rename_shows_the_old_or_the_new() {
    let seen = outcomes(|_, disk| {
        write(disk, A, "old").sync_all().unwrap();
        write(disk, "/d/b", "new").sync_all().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        disk.rename(Path::new("/d/b"), Path::new(A)).unwrap();
    });
    assert_eq!(seen, [Some("new".into()), Some("old".into())]);
}

#[test]
fn writes_are_torn_by_sector() {
    let text = ["a", "b", "c"].map(|t| t.repeat(512)).concat();
    let seen = outcomes(|_, disk| {
        let mut file = write(disk, A, "");
        file.sync_all().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    });
    assert!(seen.len() > 6, "{}", seen.len());
    let last_alone = format!("{}{}", "\0".repeat(1024), "c".repeat(512));
    assert!(seen.contains(&Some(last_alone)), "reordered");
}

#[test]
fn a_failed_sync_is_told_once() {
    let seen = outcomes(|machine, disk| {
        let file = write(disk, A, "x");
        disk.sync_dir(Path::new("/d")).unwrap();
        machine.fail(Kind::Sync, 0, 1);
        file.sync_all().unwrap_err();
        file.sync_all().unwrap();
    });
    assert_eq!(seen, [Some(String::new()), Some("\0".into()), Some("x".into())]);
}

#[test]
fn a_full_disk_takes_what_fits() {
    let machine = Machine::new(1, 0);
    let disk = machine.start();
    machine.fill(3);
    let mut file = disk.open(Path::new("/f"), Mode::Create).unwrap();
    let error = file.write_all(b"12345").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(read(&machine, "/f").unwrap(), "123");
    machine.heal();
    file.write_all(b"45").unwrap();
    assert_eq!(read(&machine, "/f").unwrap(), "12345");
}

#[test]
fn the_dead_do_nothing_and_hold_no_lock() {
    let machine = Machine::new(1, 0);
    let disk = machine.start();
    let held = disk.lock(Path::new("/lock"), "1").unwrap().unwrap();
    assert!(disk.lock(Path::new("/lock"), "2").unwrap().is_none());
    machine.crash_after(1, Crash::Program);
    disk.create_dir(Path::new("/d")).unwrap();
    disk.create_dir(Path::new("/e")).unwrap_err();
    assert!(machine.has_crashed());
    disk.metadata(Path::new("/d")).unwrap_err();
    let next = machine.start();
    disk.metadata(Path::new("/d")).unwrap_err();
    next.metadata(Path::new("/d")).unwrap();
    let again = next.lock(Path::new("/lock"), "3").unwrap();
    assert!(again.is_some());
    drop(held);
    assert!(next.lock(Path::new("/lock"), "4").unwrap().is_none(), "not theirs to release");
}
