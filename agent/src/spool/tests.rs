use std::os::unix::fs::PermissionsExt;

use super::*;

fn batch(sequence: i64, boot: &str) -> Batch {
    Batch {
        agent: "a".into(),
        boot: boot.into(),
        sequence,
        rows: 10,
        losses: BTreeMap::new(),
        body: vec![7; 1000],
    }
}

fn open(directory: &Path, max_bytes: u64) -> Spool {
    Spool::open(directory, max_bytes, "node-1.example").unwrap()
}

fn push(spool: &Spool, sequence: i64) {
    let declared = spool.undeclared_losses();
    spool.push(Batch { losses: declared.clone(), ..batch(sequence, "b") }, &declared);
}

/// Takes every batch out, as a delivery would.
fn drain(spool: &Spool) -> Vec<(String, i64)> {
    let mut taken = Vec::new();
    while let Some(outgoing) = spool.next(|| true) {
        taken.push((outgoing.batch.boot.clone(), outgoing.batch.sequence));
        spool.delivered(&outgoing);
    }
    taken
}

fn files(directory: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .map(|entries| entries.map(|e| e.unwrap().path()).collect())
        .unwrap_or_default();
    files.retain(|p: &PathBuf| p.to_string_lossy().ends_with(suffix));
    files.sort();
    files
}

#[test]
fn batches_of_earlier_runs_come_first_with_their_own_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path(), 1 << 20);
    let agent = first.agent().to_owned();
    assert!(agent.starts_with("node-1.example-"), "{agent}");
    (1..=3).for_each(|n| first.push(batch(n, "old"), &BTreeMap::new()));
    drop(first);
    let second = open(directory.path(), 1 << 20);
    assert_eq!(second.agent(), agent);
    second.push(batch(1, "new"), &BTreeMap::new());
    let expected = [("old", 1), ("old", 2), ("old", 3), ("new", 1)];
    assert_eq!(drain(&second), expected.map(|(b, n)| (b.to_owned(), n)));
    assert!(files(directory.path(), ".batch").is_empty());
}

#[test]
fn a_second_agent_is_kept_out() {
    let directory = tempfile::tempdir().unwrap();
    let _first = open(directory.path(), 1 << 20);
    let second = Spool::open(directory.path(), 1 << 20, "n");
    assert!(matches!(second, Err(SpoolError::Locked(_))));
}

#[test]
fn over_the_bound_the_oldest_go_and_the_next_batch_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let size = batch(1, "b").to_bytes().len() as u64;
    let spool = open(directory.path(), 3 * size + size / 2);
    (1..=5).for_each(|n| spool.push(batch(n, "b"), &BTreeMap::new()));
    let lost = BTreeMap::from([("spool_batches".to_owned(), 2), ("spool_rows".to_owned(), 20)]);
    assert_eq!(spool.undeclared_losses(), lost);
    assert_eq!(files(directory.path(), ".batch").len(), 3);
    drop(spool);

    // The count survives a restart, and a batch that carries it strikes it off.
    let spool = open(directory.path(), 1 << 20);
    assert_eq!(spool.undeclared_losses(), lost);
    push(&spool, 6);
    assert_eq!(spool.undeclared_losses(), BTreeMap::new());

    // That batch is lost in its turn: what it declared is declared again.
    drop(spool);
    let spool = open(directory.path(), 0);
    spool.push(batch(7, "b"), &BTreeMap::new());
    assert_eq!(spool.undeclared_losses().get("spool_batches"), Some(&(2 + 5)));
}

#[test]
fn damaged_files_are_set_aside_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path(), 1 << 20);
    (1..=4).for_each(|n| spool.push(batch(n, "b"), &BTreeMap::new()));
    let paths = files(directory.path(), ".batch");
    // One while the agent runs, one while it does not, one cut short.
    fs::write(&paths[0], b"WEIRSPOLjunk").unwrap();
    let first = spool.next(|| true).unwrap();
    assert_eq!(first.batch.sequence, 2);
    spool.returned();
    drop((first, spool));
    let mut bytes = fs::read(&paths[1]).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&paths[1], bytes).unwrap();
    fs::write(&paths[2], []).unwrap();
    fs::write(directory.path().join("00000000000000000009.batch.tmp"), b"torn").unwrap();
    let spool = open(directory.path(), 1 << 20);
    assert_eq!(spool.undeclared_losses(), BTreeMap::from([("spool_damaged".into(), 3)]));
    assert_eq!(drain(&spool), [("b".to_owned(), 4)]);
    assert_eq!(files(&directory.path().join("damaged"), ".batch").len(), 3);
    assert!(files(directory.path(), ".tmp").is_empty());
}

#[test]
fn only_the_last_few_refused_batches_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path(), 1 << 20);
    (1..=12).for_each(|n| spool.push(batch(n, "b"), &BTreeMap::new()));
    while let Some(outgoing) = spool.next(|| true) {
        spool.refused(&outgoing);
    }
    assert_eq!(spool.undeclared_losses(), BTreeMap::from([("refused_batches".into(), 12)]));
    let kept = files(&directory.path().join("refused"), ".batch");
    assert_eq!(kept.len(), KEPT_ASIDE);
    let newest = Batch::from_bytes(&fs::read(kept.last().unwrap()).unwrap()).unwrap();
    assert_eq!(newest.sequence, 12);
}

/// A directory that takes the place of the file to be written makes the write fail, also for root.
fn block(directory: &Path, ordinal: u64) -> PathBuf {
    let path = directory.join(format!("{}.tmp", file_name(ordinal)));
    fs::create_dir(&path).unwrap();
    path
}

#[test]
fn a_batch_that_the_disk_refuses_waits_in_memory_in_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path(), 1 << 20);
    push(&spool, 1);
    let obstacle = block(directory.path(), 1);
    push(&spool, 2);
    assert_eq!((files(directory.path(), ".batch").len(), spool.len()), (1, 2));
    // The next push finds the disk well again and brings the waiting one over, too.
    fs::remove_dir(obstacle).unwrap();
    push(&spool, 3);
    assert_eq!(files(directory.path(), ".batch").len(), 3);
    let sequences: Vec<_> = drain(&spool).into_iter().map(|(_, n)| n).collect();
    assert_eq!(sequences, [1, 2, 3]);
}

#[test]
fn a_batch_in_memory_can_be_delivered_from_there() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path(), 1 << 20);
    block(directory.path(), 0);
    push(&spool, 1);
    assert_eq!(drain(&spool), [("b".to_owned(), 1)]);
    assert_eq!(spool.len(), 0);
}

#[test]
fn what_the_disk_refuses_to_the_end_is_counted_after_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path(), 1 << 20);
    push(&spool, 1);
    let obstacle = block(directory.path(), 1);
    push(&spool, 2);
    assert_eq!(spool.leave(), (1, 1));
    drop(spool);
    fs::remove_dir(obstacle).unwrap();
    let spool = open(directory.path(), 1 << 20);
    let losses = spool.undeclared_losses();
    assert_eq!((losses["spool_batches"], losses["spool_rows"]), (1, batch(2, "b").rows as i64));
    assert_eq!(drain(&spool), [("b".to_owned(), 1)]);
    // A disk that is well again takes all of it.
    let obstacle = block(directory.path(), 2);
    push(&spool, 3);
    fs::remove_dir(obstacle).unwrap();
    assert_eq!(spool.leave(), (1, 0));
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Spool::open(&file.join("spool"), 1, "n").unwrap_err();
    assert!(error.to_string().contains("file/spool"), "{error}");
}

#[test]
fn spooled_traffic_is_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spool");
    let _spool = open(&path, 1 << 20);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_batch_that_cannot_be_read_just_now_is_delivered_later() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path(), 1 << 20);
    push(&spool, 1);
    let path = files(directory.path(), ".batch").remove(0);
    let bytes = fs::read(&path).unwrap();
    // A directory in its place makes reading fail, also for root.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(spool.next(|| true).is_none());
    assert_eq!((spool.len(), spool.undeclared_losses()), (1, BTreeMap::new()));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| spool.next(|| false).unwrap().batch.sequence);
        std::thread::sleep(Duration::from_millis(50));
        fs::remove_dir(&path).unwrap();
        write_durably(directory.path(), &file_name(0), &bytes).unwrap();
        assert_eq!(waiting.join().unwrap(), 1);
    });
    assert!(spool.undeclared_losses().is_empty());
}

#[test]
fn batches_of_a_newer_agent_wait_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path(), 1 << 20);
    (1..=2).for_each(|n| push(&spool, n));
    let paths = files(directory.path(), ".batch");
    let as_version = |path: &Path, version| {
        let mut bytes = fs::read(path).unwrap();
        bytes[8] = version;
        fs::write(path, bytes).unwrap();
    };
    // One while the agent runs, one while it does not.
    as_version(&paths[0], 2);
    assert_eq!(spool.next(|| true).unwrap().batch.sequence, 2);
    drop(spool);
    as_version(&paths[1], 2);
    let spool = open(directory.path(), 1 << 20);
    push(&spool, 3);
    assert_eq!(drain(&spool), [("b".to_owned(), 3)]);
    assert!(spool.undeclared_losses().is_empty());
    drop(spool);
    paths.iter().for_each(|path| as_version(path, 1));
    let upgraded = open(directory.path(), 1 << 20);
    assert_eq!(drain(&upgraded), [("b".to_owned(), 1), ("b".to_owned(), 2)]);
}
