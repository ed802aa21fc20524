-- Tables and strings made and dropped, as a script in a game or a server does it.
local state = 777
local function draw(n)
  state = (state * 48271) % 2147483647
  return state % n
end
local live, total = {}, 0
for i = 1, 250000 do
  local item = {id = i, name = "name " .. draw(1000000), list = {}}
  for j = 1, draw(10) do
    item.list[j] = j * i
  end
  local slot = draw(15000)
  if live[slot] then
    total = total + #live[slot].name + #live[slot].list
  end
  live[slot] = item
  if i % 50000 == 0 then
    local parts = {}
    for k = 0, 14999 do
      if live[k] then
        parts[#parts + 1] = live[k].name
      end
    end
    table.sort(parts)
    total = total + #table.concat(parts, ",")
  end
end
print(total)
