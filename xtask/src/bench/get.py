"""Gets everything below some prefixes of a SeaweedFS filer: URL of the bucket, FOLDER to put it in, PREFIXES."""
import concurrent.futures, json, os, sys, time, urllib.error, urllib.parse, urllib.request

ATTEMPTS = 3
THREADS = 8
PAGE = 1000
# Go's bit for a folder, not the system's
IS_FOLDER = 1 << 31

base, folder, prefixes = sys.argv[1], sys.argv[2], sys.argv[3:]


def read(key, query=""):
    url = f"{base}/{urllib.parse.quote(key, safe='/=')}{query}"
    request = urllib.request.Request(url, headers={"Accept": "application/json"} if query else {})
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError:
            raise
        except OSError:
            if attempt == ATTEMPTS:
                raise
            time.sleep(attempt)


def keys_below(prefix):
    last = ""
    while True:
        query = urllib.parse.urlencode({"limit": PAGE, "lastFileName": last})
        try:
            page = json.loads(read(f"{prefix}/", f"?{query}"))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return
            raise
        for entry in page.get("Entries") or []:
            name = os.path.basename(entry["FullPath"])
            if entry["Mode"] & IS_FOLDER:
                yield from keys_below(f"{prefix}/{name}")
            else:
                yield f"{prefix}/{name}"
        if not page.get("ShouldDisplayLoadMore"):
            return
        last = page["LastFileName"]


def get(key):
    path = os.path.join(folder, key)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(read(key))


with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
    for prefix in prefixes:
        for _ in pool.map(get, keys_below(prefix)):
            pass
