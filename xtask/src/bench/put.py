"""Puts files under URLs of a SeaweedFS filer: URL of the bucket, LIST of lines `file<TAB>key`."""
import concurrent.futures, http.client, sys, threading, time, urllib.parse

ATTEMPTS = 3
THREADS = 8
EVERY_S = 5

base = urllib.parse.urlsplit(sys.argv[1])
with open(sys.argv[2]) as lines:
    copies = [line.rstrip("\n").split("\t") for line in lines]

own = threading.local()
files = {}


def content(file):
    if file not in files:  # two threads may read it twice
        with open(file, "rb") as opened:
            files[file] = opened.read()
    return files[file]


def put(copy):
    file, key = copy
    path = urllib.parse.quote(f"{base.path}/{key}", safe="/=")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            if not hasattr(own, "connection"):
                own.connection = http.client.HTTPConnection(base.netloc, timeout=60)
            headers = {"Content-Type": "application/octet-stream"}
            own.connection.request("PUT", path, content(file), headers)
            answer = own.connection.getresponse()
            said = answer.read()
            if answer.status not in (200, 201):
                raise OSError(f"{key}: {answer.status} {said[:200]!r}")
            return
        except (OSError, http.client.HTTPException):
            if hasattr(own, "connection"):
                own.connection.close()
                del own.connection
            if attempt == ATTEMPTS:
                raise
            time.sleep(attempt)


last = time.monotonic()
with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
    for done, _ in enumerate(pool.map(put, copies), 1):
        if time.monotonic() - last >= EVERY_S:
            last = time.monotonic()
            print(f"{done} of {len(copies)} objects put", file=sys.stderr, flush=True)
