// Shows the page's content anew as the server draws it; without this the page is as it was when it was loaded.
"use strict";
const events = new EventSource("/events");
events.onmessage = (event) => {
  const drawn = new DOMParser().parseFromString(event.data, "text/html").querySelector("main");
  const shown = document.querySelector("main");
  const scrolled = [...shown.querySelectorAll(".wide")].map((box) => box.scrollLeft);
  shown.replaceWith(drawn);
  drawn.querySelectorAll(".wide").forEach((box, index) => { box.scrollLeft = scrolled[index] ?? 0; });
};
