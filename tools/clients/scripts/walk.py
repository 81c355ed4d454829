"""Reads a list page by page, as a script does that knows nothing but the answers:
it follows @odata.nextLink until there is none, and prints what it saw.

    python3 walk.py URL [HEADER VALUE]
"""
import json
import sys

import requests

url, *header = sys.argv[1:]
session = requests.Session()
session.trust_env = False
if header:
    session.headers[header[0]] = header[1]
ids, pages, hosts = [], 0, set()
while url:
    hosts.add(url.split("/")[2])
    answer = session.get(url, timeout=60)
    answer.raise_for_status()
    page = answer.json()
    ids += [row["id"] for row in page["value"]]
    pages += 1
    url = page.get("@odata.nextLink")
print(json.dumps({"rows": len(ids), "distinct": len(set(ids)), "pages": pages, "hosts": sorted(hosts)}))
