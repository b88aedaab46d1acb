//! From the little of Markdown that `docs/man` uses to roff(7): `# HEADING`, paragraphs, code that is indented by four blanks,
//! lists of `` - `TERM` text ``, and `` `code` `` within a line.

use clap_mangen::roff::{Inline, Roff, bold, roman};

/// What an indented line begins with.
const CODE: &str = "    ";

/// The text as roff.
pub fn roff(text: &str) -> String {
    let mut roff = Roff::new();
    let mut lines = text.lines().peekable();
    // Whether the next text needs a break before it.
    let mut apart = false;
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("# ") {
            roff.control("SH", [heading]);
            apart = false;
        } else if line.starts_with(CODE) {
            let mut code = vec![line];
            while let Some(line) = lines.next_if(|line| line.starts_with(CODE)) {
                code.push(line);
            }
            if apart {
                roff.control("PP", []);
            }
            roff.control("RS", ["4"]);
            roff.control("EX", []);
            for line in code {
                roff.text([roman(&line[CODE.len()..])]);
            }
            roff.control("EE", []);
            roff.control("RE", []);
            apart = true;
        } else if let Some((term, rest)) = line.strip_prefix("- `").and_then(|line| line.split_once('`')) {
            roff.control("TP", []);
            roff.text([bold(term)]);
            roff.text(inline(rest.trim_start()));
            apart = true;
        } else if line.trim().is_empty() {
            // A list goes on by itself.
            let next = lines.peek().is_some_and(|next| !next.is_empty() && !next.starts_with(['-', '#', ' ']));
            if apart && next {
                roff.control("PP", []);
            }
        } else {
            roff.text(inline(line.trim_start()));
            apart = true;
        }
    }
    roff.render()
}

/// The text from each heading to the next.
pub fn sections(text: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = text.match_indices("\n# ").map(|(at, _)| at + 1).collect();
    if text.starts_with("# ") {
        starts.insert(0, 0);
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(from, to)| &text[*from..to]).collect()
}

fn inline(line: &str) -> Vec<Inline> {
    let pieces = line.split('`').enumerate();
    pieces.map(|(at, piece)| if at % 2 == 1 { bold(piece) } else { roman(piece) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_becomes_roff() {
        let whole =
            roff("# FILES\nSome `--code` here.\n\nMore.\n\n    $ .run -x 'y'\n    two\n\n- `DIR` the place\n- `X` y\n");
        // Before it stands what makes an apostrophe one.
        assert_eq!(
            &whole[whole.find(".SH").unwrap()..],
            ".SH FILES\nSome \\fB\\-\\-code\\fR here.\n.PP\nMore.\n.PP\n.RS 4\n.EX\n$ .run \\-x \\*(Aqy\\*(Aq\ntwo\n.EE\n.RE\n\
             .TP\n\\fBDIR\\fR\nthe place\n.TP\n\\fBX\\fR\ny\n"
        );
    }

    #[test]
    fn sections_go_from_heading_to_heading() {
        assert_eq!(sections("# A\nx\n# B\ny\n"), ["# A\nx\n", "# B\ny\n"]);
        assert!(sections("").is_empty());
    }
}
