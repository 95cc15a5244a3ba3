-- Sixteen requests in a packet.
local requests = {}

function init(arguments)
  for number = 1, 16 do
    requests[number] = wrk.format(nil, wrk.path)
  end
  requests = table.concat(requests)
end

function request()
  return requests
end
