# git: a history of 60 commits, branches, merge, pack, blame, fsck; the final hash must be the same.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: git
# seconds: 90
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b HOME=$PWD GIT_CONFIG_NOSYSTEM=1
git init -q -b main r; cd r
for i in $(seq 60); do
	seq $i 3 $((i * 40)) > f$((i % 7)); echo "line $i" >> log
	git add . && GIT_AUTHOR_DATE="2020-01-01T00:00:$i+0000" GIT_COMMITTER_DATE="2020-01-01T00:00:00+0000" git commit -q -m "commit $i"
done
export GIT_AUTHOR_DATE=2020-02-01T00:00:00+0000 GIT_COMMITTER_DATE=2020-02-01T00:00:00+0000
git checkout -q -b side HEAD~20; echo side > s; git add s; git commit -q -m side; git checkout -q main; git merge -q --no-edit side > /dev/null
git log --oneline --stat | cksum; git blame log | cksum; git diff HEAD~30 | cksum
git gc -q --aggressive; git fsck --full; git rev-parse HEAD
git clone -q . ../c; cd ../c; git grep -c line | head -3; git archive HEAD | cksum
