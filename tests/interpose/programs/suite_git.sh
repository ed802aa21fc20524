# git's own tests, on the git that is installed; and make and gcc, which compile the 400 files of its test helper.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: git make cc ar
# source: git
# seconds: 400
# judges itself
cp -a "$SOURCE" s; cd s
echo '#include <zlib.h>' | cc -E - > /dev/null 2> ../log || { echo "skipped: zlib1g-dev is not installed"; exit 77; }
make -j2 CFLAGS='-O0 -w' NO_CURL=1 NO_EXPAT=1 NO_GETTEXT=1 NO_OPENSSL=1 NO_TCLTK=1 NO_PERL=1 NO_PYTHON=1 \
	GIT-BUILD-OPTIONS t/helper/test-tool > ../log 2>&1 || { tail -20 ../log; exit 1; }
make -C templates > ../log 2>&1
cd t; export GIT_TEST_INSTALLED=/usr/bin TEST_NO_MALLOC_CHECK=1 HOME="$PWD"
for t in t0001-init t1006-cat-file t1300-config t4013-diff-various t7600-merge t9300-fast-import; do
	sh ./$t.sh --root="$PWD/../../trash.$t" > "../../log.$t" 2>&1 || { grep -A 30 '^not ok' "../../log.$t"; tail -5 "../../log.$t"; exit 1; }
done
cat ../../log.t* | grep -c '^ok' | sed 's/$/ tests passed/'
