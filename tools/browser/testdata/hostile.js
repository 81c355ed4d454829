// What a page does that would have a token, or do something in its user's name.
// It returns what it could read of the answers, a line each.
async (broker) => {
	const learned = [];
	const soon = () => AbortSignal.timeout(5000); // where an answer never ends
	const read = async (how, answer) => {
		try {
			const got = await answer;
			learned.push([how, got.type, got.status, await got.text()].join(" "));
		} catch {} // a page is not told more
	};
	const form = (fields) => new URLSearchParams(fields);
	const requests = [
		["GET", "/token?route=defender"],
		["POST", "/token", form("route=defender")],
		["GET", "/claims?route=defender"],
		["GET", "/whoami"],
		["GET", "/proxy/defender/api/machines"],
		["POST", "/proxy/defender/api/advancedhunting/run", '{"Query":"DeviceInfo | take 1"}'],
		["POST", "/login", form("identity=me")],
		["POST", "/login/answer", form("identity=me&url=http://localhost/?code=x")],
		["POST", "/logout", form("identity=me")],
	];
	for (const [method, path, body] of requests) {
		const how = method + " " + path;
		for (const mode of ["cors", "no-cors", "same-origin"]) {
			await read(how, fetch(broker + path, {method, body, mode, credentials: "include", signal: soon()}));
		}
		await read(how, fetch(broker + path, {method, body, headers: {"X-Broker-Key": "guess", "Metadata": "true"}, signal: soon()})); // after a preflight
		await read(how, fetch(broker + path, {method, body, mode: "no-cors", referrerPolicy: "no-referrer", signal: soon()}));
		if (method === "POST") navigator.sendBeacon(broker + path, body);
	}

	// Elements tell whether they were loaded, and frames of this page's origin what is in them.
	const load = (element, how) => new Promise((loaded) => {
		soon().onabort = element.onload = element.onerror = () => {
			let text = "";
			try { text = element.contentDocument.body.innerText; } catch {}
			if (text) learned.push(how + " framed 0 " + text);
			loaded();
		};
		document.body.append(element);
	});
	const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
	for (const [method, path, body] of requests) {
		if (method === "GET") {
			for (const tag of ["iframe", "img", "script"]) await load(make(tag, {src: broker + path}), tag + " " + path);
			await load(make("link", {rel: "stylesheet", href: broker + path}), "link " + path);
			continue;
		}
		for (const enctype of ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"]) {
			const frame = make("iframe", {name: "frame" + Math.random()});
			await load(frame, "empty");
			const sent = make("form", {method, action: broker + path, enctype, target: frame.name});
			for (const [name, value] of body instanceof URLSearchParams ? body : [[body, ""]]) sent.append(make("input", {name, value}));
			const answered = load(frame, "form " + path);
			document.body.append(sent);
			sent.submit();
			await answered;
		}
	}
	return learned;
}
