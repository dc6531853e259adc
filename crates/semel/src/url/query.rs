//! The part of a URL after its `?`.

/// `url` without the parameter `name`, and what that said. Others are left as they are.
pub(super) fn take(url: &str, name: &str) -> (String, Option<String>) {
    let Some((address, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let value = |parameter: &str| {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (key == name).then(|| value.to_owned())
    };
    let others: Vec<&str> = query.split('&').filter(|it| value(it).is_none()).collect();
    let taken = query.split('&').filter_map(value).next_back();
    let rest = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
    (format!("{address}{rest}"), taken)
}

#[cfg(test)]
mod tests {
    use super::take;

    #[test]
    fn one_parameter_is_ours_and_the_others_are_the_servers() {
        let check = |url: &str, rest: &str, value: Option<&str>| {
            assert_eq!(take(url, "schema"), (rest.to_owned(), value.map(str::to_owned)), "{url}");
        };
        check("postgres://h/d", "postgres://h/d", None);
        check("postgres://h/d?schema=a", "postgres://h/d", Some("a"));
        check("postgres://h/d?schema=a&schema=b", "postgres://h/d", Some("b"));
        check("postgres://h/d?schema=", "postgres://h/d", Some(""));
        check("postgres://h/d?schemas=a", "postgres://h/d?schemas=a", None);
        check(
            "postgres://h/d?sslmode=disable&schema=a&connect_timeout=3",
            "postgres://h/d?sslmode=disable&connect_timeout=3",
            Some("a"),
        );
        check(
            "amqp://u:p@h:1/%2f?schema=a&heartbeat=9",
            "amqp://u:p@h:1/%2f?heartbeat=9",
            Some("a"),
        );
    }
}
