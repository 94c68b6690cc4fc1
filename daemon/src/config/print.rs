//! Prints settings as a file that could be read again: those that hold, or the reference of all.

use std::fmt::Write;

use super::{
    Config, Settings,
    key::{Key, Shown, Value},
};

impl Settings {
    /// Every setting, with where its value comes from. Secrets are hidden.
    pub(crate) fn print(&self) -> String {
        let mut page = Page::default();
        self.config.clone().visit(&mut |key, value| {
            page.section(key, "");
            let origin = self.origin(&key.name());
            match value.show() {
                Shown::Toml(literal) => page.line(&format!("{} = {literal}  # {origin}", key.field)),
                Shown::Hidden => page.line(&format!("# {} is set and hidden  # {origin}", key.field)),
                Shown::Unset => page.line(&format!("# {} is not set", key.field)),
            }
        });
        page.text
    }
}

/// Every setting, with what it means and its default.
pub(crate) fn reference() -> String {
    let mut page = Page::default();
    page.line(
        "# Every setting of Postrider, with its default. Stronger than this file is the environment, and stronger",
    );
    page.line("# still are flags; any setting can be given as a flag with --set KEY=VALUE, except secrets.");
    Config::default().visit(&mut |key, value| {
        page.section(key, key.section_doc);
        page.line("");
        key.doc_lines().for_each(|line| page.line(&format!("# {line}")));
        page.line(&format!("# Give {}.", value.takes(key)));
        page.line(&format!("# {}", elsewhere(key, value)));
        page.line(&match value.show() {
            Shown::Toml(literal) => format!("{} = {literal}", key.field),
            Shown::Hidden | Shown::Unset => format!("# {} =", key.field),
        });
    });
    page.text
}

/// Where else it can be set.
fn elsewhere(key: &Key, value: &dyn Value) -> String {
    match key.flag() {
        Some(flag) => format!("Elsewhere: {}, {flag}", key.variable()),
        None if value.is_secret() => format!("Elsewhere: {}", key.variable()),
        None => format!("Elsewhere: {}, --set {}=…", key.variable(), key.name()),
    }
}

#[derive(Default)]
struct Page {
    text: String,
    section: &'static str,
}

impl Page {
    fn line(&mut self, line: &str) {
        // Writing to a string cannot fail.
        let _always = writeln!(self.text, "{}", line.trim_end());
    }

    /// Begins the section of this key, unless it is in it already.
    fn section(&mut self, key: &Key, doc: &str) {
        if key.section == self.section {
            return;
        }
        self.section = key.section;
        self.line("");
        doc.lines().for_each(|line| self.line(&format!("# {}", line.trim())));
        self.line(&format!("[{}]", key.section));
    }
}
