//! Pages of the documentation whose programs are compiled and run.

use std::fmt::Display;

/// A page, and the files that its programs stand in.
pub(crate) struct Page {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) programs: &'static [&'static str],
}

impl Page {
    /// The blocks of the page in this language, in order.
    pub(crate) fn blocks(&self, language: &str) -> Vec<String> {
        let fence = format!("\n```{language}\n");
        let after = self.text.split(&fence).skip(1);
        let blocks = after.filter_map(|text| text.split_once("\n```\n"));
        blocks.map(|(block, _)| format!("{block}\n")).collect()
    }

    /// Every program on the page is part of one that is compiled.
    #[track_caller]
    pub(crate) fn is_compiled(&self) {
        let on_page = self.blocks("rust");
        assert!(!on_page.is_empty(), "no program on {}", self.name);
        for program in on_page {
            let is_compiled = self.programs.iter().any(|compiled| compiled.contains(&program));
            assert!(is_compiled, "on {}, but not compiled:\n{program}", self.name);
        }
    }

    /// `SEMEL_BOOK=print cargo test -p semel --features check book -- --nocapture` prints what is to
    /// stand there.
    #[track_caller]
    pub(crate) fn says(&self, number: usize, report: &impl Display) {
        let printed = format!("{}\n", report.to_string().trim_end());
        if std::env::var_os("SEMEL_BOOK").is_some() {
            println!("{printed}");
            return;
        }
        let stands_there = self.blocks("text").get(number).cloned();
        assert_eq!(stands_there, Some(printed), "block {number} of {}", self.name);
    }
}
