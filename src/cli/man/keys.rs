//! The keys of the file of settings: every option of every command, once.

use clap::{Arg, Command};
use clap_mangen::roff::{Roff, bold, italic, roman};

/// An option, and the commands that have it with the same meaning.
struct Key {
    name: String,
    value: String,
    help: String,
    commands: Vec<String>,
}

/// The list of keys, as roff.
pub fn roff(root: &Command) -> String {
    let mut keys: Vec<Key> = Vec::new();
    for command in root.get_subcommands() {
        for arg in
            command.get_arguments().filter(|arg| arg.get_long().is_some_and(|long| !["help", "config"].contains(&long)))
        {
            let (name, value, help) = (arg.get_long().unwrap_or_default().to_owned(), value(arg), help(arg));
            let known = keys.iter_mut().find(|key| key.name == name && key.value == value && key.help == help);
            match known {
                Some(key) => key.commands.push(command.get_name().to_owned()),
                None => keys.push(Key { name, value, help, commands: vec![command.get_name().to_owned()] }),
            }
        }
    }
    keys.sort_by(|a, b| a.name.cmp(&b.name));
    let everywhere = root.get_subcommands().count();
    let mut roff = Roff::new();
    for key in keys {
        roff.control("TP", []);
        roff.text([bold(key.name), roman(" = "), italic(key.value)]);
        let commands = match key.commands.len() == everywhere {
            true => "all commands".to_owned(),
            false => key.commands.join(", "),
        };
        roff.text([roman(format!("{}. ({commands})", key.help.trim_end_matches('.')))]);
    }
    roff.render()
}

/// What may stand behind the sign of equality.
fn value(arg: &Arg) -> String {
    if !arg.get_action().takes_values() {
        return "true|false".to_owned();
    }
    let choices: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !choices.is_empty() {
        return choices.join("|");
    }
    arg.get_value_names().map(|names| names.join(" ")).unwrap_or_default()
}

fn help(arg: &Arg) -> String {
    let mut help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !default.is_empty() && arg.get_action().takes_values() {
        help.push_str(&format!(" [default: {}]", default.join(",")));
    }
    help
}
