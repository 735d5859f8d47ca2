// As much of a Socket.IO client as this page needs: the default namespace over a websocket, with
// acknowledged events. Socket.IO 5 packets travel inside Engine.IO 4 packets; the first digit is the
// Engine.IO type (0 open, 2 ping, 3 pong, 4 message), the second the Socket.IO type (0 connect,
// 2 event, 3 acknowledgement, 4 refused).

const FIRST_DELAY = 500;
const LONGEST_DELAY = 5000;

export class Socket {
  constructor(onState) {
    this.onState = onState;
    this.acknowledgements = new Map();
    this.nextId = 0;
    this.delay = FIRST_DELAY;
    this.open();
  }

  open() {
    const address = new URL("/socket.io/?EIO=4&transport=websocket", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.channel = new WebSocket(address);
    this.channel.onmessage = (message) => this.receive(message.data);
    this.channel.onclose = () => {
      this.acknowledgements.clear();
      this.onState(false, "not connected, trying again");
      setTimeout(() => this.open(), this.delay);
      this.delay = Math.min(this.delay * 2, LONGEST_DELAY);
    };
  }

  receive(packet) {
    if (packet[0] === "0") this.channel.send("40");
    else if (packet[0] === "2") this.channel.send("3");
    else if (packet.startsWith("40")) {
      this.delay = FIRST_DELAY;
      this.onState(true, `connected (session ${JSON.parse(packet.slice(2)).sid})`);
    } else if (packet.startsWith("43")) {
      const [, id, data] = packet.match(/^43(\d+)(.*)$/s);
      this.acknowledgements.get(Number(id))?.(JSON.parse(data)[0]);
      this.acknowledgements.delete(Number(id));
    } else if (packet.startsWith("44")) this.onState(false, "refused");
  }

  // Sends an event; the promise holds the server's answer.
  ask(event, data) {
    return new Promise((resolve) => {
      const id = this.nextId++;
      this.acknowledgements.set(id, resolve);
      this.channel.send(`42${id}${JSON.stringify([event, data])}`);
    });
  }
}
