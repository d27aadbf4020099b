//! `lently compare` as a user runs it.

use crate::Machine;

fn file(machine: &Machine, name: &str, glad: usize, sad: usize) -> String {
    let mut text = "id,author,text\n".to_owned();
    for place in 0..glad + sad {
        let said = if place < glad { "I love this wonderful sound" } else { "this is the worst thing" };
        text += &format!("{name}-{place},@a{place},{said} {place}\n");
    }
    machine.write(&format!("{name}.csv"), &text)
}

#[test]
fn several_files_stand_side_by_side_and_differences_that_are_no_chance_are_marked() {
    let machine = Machine::new();
    let (march, april) = (file(&machine, "march", 150, 50), file(&machine, "april", 60, 140));
    let told = machine.run(&["compare", &march, &april, "--json"]).ok().json();
    let positive = &told["differences"][0]["sentiment"][0];
    assert_eq!((&positive["name"], &positive["significant"]), (&"positive".into(), &true.into()));
    assert!((positive["change"].as_f64().expect("a number") + 0.45).abs() < 1e-9, "{positive}");
    let text = machine.run(&["compare", &march, &april]).ok().out;
    for part in ["march.csv", "75.0 % →   30.0 %", "-45.0 points *", "comments    200"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let ids: Vec<&str> = told["analyses"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|of| of["analysis_id"].as_str())
        .collect();
    let by_ids = machine.run(&["compare", ids[0], ids[1], "--json"]).ok().json();
    assert_eq!(by_ids, told, "what is analyzed is compared by its ids, too");
}

#[test]
fn what_there_is_nothing_to_compare_with_says_so() {
    let machine = Machine::new();
    let one = file(&machine, "one", 3, 3);
    let alone = machine.run(&["compare", &one]);
    assert!(alone.code == Some(2) && alone.err.contains("at least two inputs"), "{}", alone.err);
    let never = machine.run(&["compare", &one, "--with-earlier"]);
    assert!(never.code == Some(1) && never.err.contains("not analyzed on an earlier day"), "{}", never.err);
}
