# lua: tables, strings, closures, its collector in both modes.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: lua5.4
# seconds: 60
cat > t.lua <<'END'
for _, mode in ipairs{"generational", "incremental"} do
  collectgarbage(mode)
  local t = {}
  for i = 1, 300000 do t["k" .. i % 7001] = {i, tostring(i), function() return i end} end
  local n, s = 0, 0; for k, v in pairs(t) do n = n + 1; s = s + v[1] + v[3]() end; print(n, s)
  local parts = {}; for i = 1, 50000 do parts[#parts + 1] = ("x"):rep(i % 40) end; print(#table.concat(parts, ","))
  local co = coroutine.wrap(function() for i = 1, 20000 do coroutine.yield({i}) end end); local c = 0; for v in co do c = c + v[1] end; print(c)
  print((("word "):rep(10000):gsub("w(o)r", "%1")):len())
end
END
lua5.4 t.lua
