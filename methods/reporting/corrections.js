"use strict";
(() => {
  const choices = [...document.querySelectorAll("select[data-image-id]")];
  const button = document.getElementById("download");
  const count = document.getElementById("chosen");
  const chosen = () => choices.filter((choice) => choice.value !== "");
  const cell = (text) => `"${text.replaceAll('"', '""')}"`;
  let saved = true;

  const show = () => {
    const n = chosen().length;
    count.textContent = n === 1 ? "1 label chosen." : `${n} labels chosen.`;
    button.disabled = n === 0;
  };

  const download = () => {
    const lines = chosen().map((choice) => `${choice.dataset.imageId},${cell(choice.value)}\r\n`);
    const file = new Blob(["image_id,label\r\n", ...lines], { type: "text/csv" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = "manifest.csv";
    link.click();
    URL.revokeObjectURL(link.href);
    saved = true;
  };

  document.querySelectorAll(".correction").forEach((part) => { part.hidden = false; });
  choices.forEach((choice) => choice.addEventListener("change", () => { saved = false; show(); }));
  button.addEventListener("click", download);
  window.addEventListener("beforeunload", (event) => { if (!saved) event.preventDefault(); });
  show();
})();
