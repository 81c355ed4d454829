#!/bin/sh
# Has the real kubectl get its token from the broker, as a credential plugin, and
# show it to an API server.
#
#	tools/clients/kubectl.sh TOKENBROKER
#
# Wants kubectl (Debian: kubernetes-client), python3 and openssl in PATH, and the
# broker's binary as its argument.
set -eu

broker=$(realpath "$1")
work=$(mktemp -d)
pids=
stop() {
	for pid in $pids; do kill "$pid" 2>/dev/null || :; done
	rm -rf "$work"
}
trap stop EXIT
cd "$work"

# within SECONDS COMMAND... waits for what has to happen soon.
within() {
	left=$1
	shift
	until "$@"; do
		left=$((left - 1))
		if [ "$left" = 0 ]; then
			echo "kubectl.sh: in vain: $*" >&2
			exit 1
		fi
		sleep 1
	done
}

HOME=$work
export HOME
"$broker" demo --callers 127.0.0.1:0 --ops 127.0.0.1:0 -o json >demo.json &
pids="$pids $!"
within 60 test -s demo.json
TOKENBROKER_URL=$(sed -n 's/.*"callers":"\([^"]*\)".*/\1/p' demo.json)
export TOKENBROKER_URL

openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext 'subjectAltName=IP:127.0.0.1' -keyout server.key -out server.pem 2>openssl.log
cat >server.py <<'PYTHON'
import http.server
import ssl


class Server(http.server.BaseHTTPRequestHandler):
    """An API server that knows /version, and notes what it is shown."""

    def do_GET(self):
        with open("shown", "w") as shown:
            print(self.headers.get("Authorization", ""), file=shown)
        body = b'{"major":"1","minor":"32"}\n'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Server)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("server.pem", "server.key")
server.socket = tls.wrap_socket(server.socket, server_side=True)
with open("port", "w") as port:
    print(server.server_port, file=port)
server.serve_forever()
PYTHON
python3 server.py &
pids="$pids $!"
within 60 test -s port

"$broker" token --route defender -o header | sed 's/^Authorization: //' >wanted
# Older ones, Debian's among them, do not know v1.
versions=v1beta1
minor=$(kubectl version --client -o json | sed -n 's/.*"minor": *"\([0-9]*\).*/\1/p')
[ "$minor" -lt 22 ] || versions="v1beta1 v1"
for version in $versions; do
	cat >kubeconfig <<YAML
apiVersion: v1
kind: Config
current-context: here
clusters:
  - {name: here, cluster: {server: "https://127.0.0.1:$(cat port)", certificate-authority: "$work/server.pem"}}
contexts:
  - {name: here, context: {cluster: here, user: broker}}
users:
  - name: broker
    user:
      exec:
        apiVersion: client.authentication.k8s.io/$version
        command: "$broker"
        args: [token, --route, defender, -o, exec-credential]
        interactiveMode: Never
YAML
	rm -f shown
	kubectl --kubeconfig kubeconfig get --raw /version >answer
	cmp wanted shown
	echo "kubectl: $version: the token arrived"
done
