# java: the compiler and a program with threads; the virtual machine's own memory is malloc's.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: java javac
# seconds: 90
cat > T.java <<'END'
import java.util.*; import java.util.stream.*; import java.nio.*;
public class T { public static void main(String[] a) throws Exception {
  Map<String, List<Integer>> m = new TreeMap<>(); for (int i = 0; i < 200000; i++) m.computeIfAbsent("k" + i % 5003, k -> new ArrayList<>()).add(i);
  System.out.println(m.size() + " " + m.values().stream().mapToInt(List::size).sum());
  System.out.println(IntStream.range(0, 100000).parallel().mapToObj(i -> "x" + i).collect(Collectors.toSet()).size());
  long t = 0; for (int i = 0; i < 500; i++) { ByteBuffer b = ByteBuffer.allocateDirect(i * 1000 + 1); t += b.capacity(); } System.out.println(t);
  Thread[] ts = new Thread[20]; for (int i = 0; i < 20; i++) (ts[i] = new Thread(() -> new java.util.zip.Deflater().end())).start(); for (Thread x : ts) x.join(); System.out.println("done"); } }
END
javac T.java && java -Xmx256m T
