//! `[backup]` and `[doctor]`: what they take, and what is refused.

use super::*;

#[test]
fn nothing_is_scheduled_unless_it_is_said() {
    let config = parse(MINIMAL).unwrap();
    assert!(config.backup.is_none() && config.doctor.is_none());
}

#[test]
fn schedules_are_read_with_their_zone_and_the_folder_is_next_to_the_file() {
    let text = format!(
        "{MINIMAL}[backup]\nschedule = \"0 3 * * *\"\nfolder = \"copies\"\n\
         [doctor]\nschedule = \"30 4 * * mon\"\ntz = \"Europe/Berlin\"\n"
    );
    let config = parse(&text).unwrap();
    let backup = config.backup.unwrap();
    assert_eq!(backup.folder, Path::new("/etc/copies"));
    assert_eq!(backup.keep.get(), 7);
    assert_eq!(backup.timetable.to_string(), "0 3 * * *");
    let doctor = config.doctor.unwrap();
    assert_eq!(doctor.to_string(), "30 4 * * mon Europe/Berlin");
    let text = text.replace("\"copies\"", "\"/var/copies\"\nkeep = 30");
    let backup = parse(&text).unwrap().backup.unwrap();
    assert_eq!(backup.folder, Path::new("/var/copies"));
    assert_eq!(backup.keep.get(), 30);
}

#[test]
fn what_cannot_be_is_told_with_what_would_be_right() {
    for (lines, says) in [
        (
            "[backup]\nfolder = \"x\"",
            "backup.schedule: is missing; allowed: minute, hour",
        ),
        (
            "[backup]\nschedule = \"@daily\"",
            "backup.folder: is missing; allowed: the path",
        ),
        (
            "[backup]\nschedule = \"@daily\"\nfolder = \"x\"\nkeep = 0",
            "backup.keep = 0: is out of range; allowed: a whole number, 1 to 1000",
        ),
        (
            "[doctor]\nschedule = \"61 * * * *\"",
            "doctor.schedule = \"61 * * * *\": is no schedule: 0 to 59",
        ),
        (
            "[doctor]\nschedule = 5",
            "doctor.schedule = 5: is a whole number; allowed: minute",
        ),
        (
            "[doctor]\nschedule = \"@daily\"\ntz = \"Mars\"",
            "doctor.tz = \"Mars\": is not known; allowed: a time zone",
        ),
        (
            "[doctor]\nschedule = \"@daily\"\nfolder = \"x\"",
            "doctor.folder: unknown key",
        ),
        (
            "[backup]\nschedule = \"@daily\"\nfolder = \"x\"\n\
             [store]\ndatabase = \"postgres://h/d\"",
            "backup: copies a file, and the database is one of a server; allowed: nothing: run \
             pg_dump on a schedule of your own",
        ),
        (
            "[store]\ndatabase = \"mysql://u:hush@h/d\"",
            "store.database: is a URL that does not begin with postgres://",
        ),
    ] {
        let problem = problem_of(lines);
        assert!(problem.contains(says), "{lines}: {problem}");
        assert!(!problem.contains("hush"), "{problem}");
    }
}

/// Schedule and zone are judged each by itself, in one go.
#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let text = "[doctor]\nschedule = \"daily\"\ntz = \"Mars\"\n";
    assert_eq!(problems(&format!("{MINIMAL}{text}")).len(), 2);
}
